"""Children that exercise one device each. The parent never imports PyTorch, so nothing a GPU does can take it down."""

"""Records → server: the transforms, the sink, flow control, what is there already."""

"""The queue, and the processes that segment, compare, report and measure."""

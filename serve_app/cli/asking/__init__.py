"""`cascade ask`: the request, and the view of its answer."""

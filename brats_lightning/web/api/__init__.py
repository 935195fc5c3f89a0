"""What a browser or a program asks for: guards, routes, events, the server."""

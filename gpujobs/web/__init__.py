"""The pages: plain HTML, CSS and ES modules in `static/`, as they are served; `daemon/web/` serves them."""

"""A network's drawing as HTML with an inline SVG, readable on light and on dark pages."""

import uuid
from html import escape

from .diagram import scene, size_of

# The page's own text colour where it has one (Jupyter's themes set --jp-...), so that it fits a light and a dark notebook.
STYLE = """
.fastdnn-ID {color: var(--jp-content-font-color1, currentColor); font: 13px system-ui, sans-serif; overflow-x: auto;
  --forward: #1868b7; --backward: #b34700; --soft: rgba(127, 127, 127, 0.12); --line: rgba(127, 127, 127, 0.75)}
@media (prefers-color-scheme: dark) {.fastdnn-ID {--forward: #6db3f2; --backward: #ff9d5c}}
[data-jp-theme-light="true"] .fastdnn-ID, .vscode-light .fastdnn-ID, html[theme="light"] .fastdnn-ID
  {--forward: #1868b7; --backward: #b34700}
[data-jp-theme-light="false"] .fastdnn-ID, .vscode-dark .fastdnn-ID, html[theme="dark"] .fastdnn-ID
  {--forward: #6db3f2; --backward: #ff9d5c}
.fastdnn-ID svg {max-width: 100%; height: auto}
.fastdnn-ID text {fill: currentColor; font: 12px system-ui, sans-serif}
.fastdnn-ID .title {font-weight: 600; font-size: 13px}
.fastdnn-ID .detail {opacity: 0.75}
.fastdnn-ID .badge {font-weight: 600}
.fastdnn-ID text.forward {fill: var(--forward)} .fastdnn-ID text.backward {fill: var(--backward)}
.fastdnn-ID rect {fill: var(--soft); stroke: var(--line)}
.fastdnn-ID rect.end {fill: none} .fastdnn-ID rect.repeat {fill: none; stroke-width: 2}
.fastdnn-ID rect.residual {fill: none; stroke-dasharray: 5 4}
.fastdnn-ID polyline {fill: none; stroke-width: 1.6}
.fastdnn-ID polyline.forward {stroke: var(--forward)} .fastdnn-ID polyline.backward {stroke: var(--backward)}
.fastdnn-ID marker.forward {fill: var(--forward)} .fastdnn-ID marker.backward {fill: var(--backward)}
"""


def network_html(model):
    """An HTML fragment with the drawing of a model, or a line of text if it is not built yet."""
    if model.layout is None:
        return f"<pre>{escape(repr(model))}</pre>"
    name, drawing = uuid.uuid4().hex[:8], scene(model)
    parts = [_marker(name, kind) for kind in ("forward", "backward")]
    for x, y, width, height, kind in drawing.rectangles:
        parts.append(f'<rect class="{kind}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}" rx="6"/>')
    for points, kind in drawing.arrows:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        parts.append(f'<polyline class="{kind}" points="{path}" marker-end="url(#{kind}-{name})"/>')
    for x, y, text, anchor, kind in drawing.texts:
        parts.append(f'<text class="{kind}" x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escape(text)}</text>')
    size = f'viewBox="0 0 {drawing.width:g} {drawing.height:g}" width="{drawing.width:g}"'
    return (
        f'<div class="fastdnn-{name}"><style>{STYLE.replace("-ID", f"-{name}")}</style>'
        f"<div><b>Model</b> {escape(size_of(model))}</div>"
        f'<svg {size} role="img" aria-label="{escape(size_of(model), quote=True)}">{"".join(parts)}</svg></div>'
    )


def _marker(name, kind):
    """An arrow's head."""
    return (
        f'<marker id="{kind}-{name}" class="{kind}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" '
        'orient="auto"><path d="M0,0 L8,4 L0,8 z"/></marker>'
    )

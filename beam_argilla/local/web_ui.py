"""argilla-server's web UI, without what it would fetch from elsewhere."""

import re
from pathlib import Path
from typing import Any

_REMOTE_IMPORT = re.compile(r'@import\s+url\(["\']?https?://[^)]*\);?')


def serve_without_remote_fonts(application: Any) -> None:
    """Takes the web fonts out of the style sheets of a server.

    A browser shows nothing before a style sheet has come, or failed: where there is no network, each page would wait
    for that. And nobody's annotation work needs to be known elsewhere. The fonts of the machine take their place.

    Args:
      application: argilla-server's application. It has made a copy of its files for itself, which is changed here.
    """
    for route in application.routes:
        if route.name == 'static':
            for sheet in Path(route.app.directory).rglob('*.css'):
                text = sheet.read_text(encoding='utf-8')
                local = _REMOTE_IMPORT.sub('', text)
                if local != text:
                    sheet.write_text(local, encoding='utf-8')

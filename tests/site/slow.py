"""A page as it comes to a slow phone: through a server that compresses, a slow line and a slow processor."""

import gzip
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

SLOWER = (
    4  # a phone's processor, against that of a desk, on which LAYOUT takes so many milliseconds:
)
DESK = 115
LAYOUT = """() => {
    const start = performance.now()
    for (let time = 0; time < 20; time++) {
        const box = document.createElement('div')
        for (let line = 0; line < 300; line++) {
            box.append(document.createElement('p'))
            box.lastChild.textContent = 'a line of words that has to find its place '.repeat(3)
        }
        document.body.append(box)
        box.offsetHeight
        box.remove()
    }
    return performance.now() - start
}"""
COMPRESSED = {".html", ".css", ".js", ".json", ".svg", ".txt", ".xml"}
OBSERVE = """
    window.shifted = 0
    new PerformanceObserver(list => {
        for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shifted += entry.value
    }).observe({type: 'layout-shift', buffered: true})
"""


class Handler(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        path = path / "index.html" if path.is_dir() else path
        if not path.is_file():
            return self.send_error(404)
        body = path.read_bytes()
        self.send_response(200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        if path.suffix in COMPRESSED:
            body = gzip.compress(body, 6)
            self.send_header("Content-Encoding", "gzip")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        pass


def serve(folder):
    """A server of that folder on this machine, and its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://127.0.0.1:{server.server_port}/"


def visit(browser, address):
    """Open a page on a slow phone: what travelled, in bytes, its addresses, when the first text was there, in ms, and how far things moved."""
    context = browser.new_context(viewport={"width": 390, "height": 844}, device_scale_factor=2)
    tab = context.new_page()
    tab.add_init_script(OBSERVE)
    wire = context.new_cdp_session(tab)
    travelled, asked = [], []
    wire.on("Network.loadingFinished", lambda event: travelled.append(event["encodedDataLength"]))
    wire.on("Network.requestWillBeSent", lambda event: asked.append(event["request"]["url"]))
    wire.send("Network.enable")
    wire.send(
        "Network.emulateNetworkConditions",
        {
            "offline": False,
            "latency": 150,
            "downloadThroughput": 200_000,
            "uploadThroughput": 90_000,
        },
    )
    # A machine that does much else is slow already.
    busy = tab.evaluate(LAYOUT) / DESK
    wire.send("Emulation.setCPUThrottlingRate", {"rate": max(1, SLOWER / max(1, busy))})
    tab.goto(address, wait_until="load")
    tab.evaluate("document.fonts.ready.then(() => null)")
    wire.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    wire.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1},
    )
    # All of the page is seen once, so that what waited for its turn has come.
    tab.evaluate("""async () => {
        for (let y = 0; y < document.body.scrollHeight; y += 800) {
            scrollTo(0, y)
            await new Promise(done => setTimeout(done, 20))
        }
    }""")
    tab.wait_for_load_state("networkidle")
    seen = tab.evaluate(
        """() => [performance.getEntriesByName('first-contentful-paint')[0]?.startTime, window.shifted]"""
    )
    context.close()
    return {"bytes": sum(travelled), "asked": asked, "first_text": seen[0], "shift": seen[1]}

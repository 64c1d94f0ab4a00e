//! The page, the operator's page and the JavaScript client. The files are part of the binary, so nothing has to be installed with it or
//! built before it.

use doorstep_adapters::api::assets::Asset;

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

/// One file of `app/web`, under its own name.
macro_rules! file {
    ($name:literal, $content_type:expr) => {
        Asset {
            path: concat!("/", $name),
            content_type: $content_type,
            body: include_bytes!(concat!("../web/", $name)),
        }
    };
}

/// What a browser shows at a node without the simulation.
pub(crate) const BARE: Asset = Asset {
    path: "/",
    content_type: "text/plain; charset=utf-8",
    body: b"This is a doorstep: it holds notifications until their users are connected.\n\n\
        There is no page here, because the simulation is off (trading.enabled = false).\n\
        /openapi.json    the API of this node\n\
        /health/ready    whether it is ready\n\
        /metrics         its counters\n\
        /ops             the operator's page\n",
};

/// The JavaScript client, which pages of allowed origins may import too.
pub(crate) const CLIENT: [Asset; 2] =
    [file!("doorstep.js", JAVASCRIPT), file!("doorstep.d.ts", "text/plain; charset=utf-8")];

/// The operator's page. Its files hold no secret: what it shows, it asks for with a service key.
pub(crate) const OPERATORS: [Asset; 8] = [
    Asset {
        path: "/ops",
        content_type: "text/html; charset=utf-8",
        body: include_bytes!("../web/ops.html"),
    },
    file!("ops.css", "text/css; charset=utf-8"),
    file!("ops.js", JAVASCRIPT),
    file!("ops-figures.js", JAVASCRIPT),
    file!("ops-stories.js", JAVASCRIPT),
    // The page of the simulation uses these too.
    file!("style.css", "text/css; charset=utf-8"),
    file!("icon.svg", "image/svg+xml"),
    file!("dom.js", JAVASCRIPT),
];

/// All other files of the page.
pub(crate) const ASSETS: [Asset; 8] = [
    Asset {
        path: "/",
        content_type: "text/html; charset=utf-8",
        body: include_bytes!("../web/index.html"),
    },
    file!("page.js", JAVASCRIPT),
    file!("api.js", JAVASCRIPT),
    file!("story.js", JAVASCRIPT),
    file!("lanes.js", JAVASCRIPT),
    file!("rehearsal.js", JAVASCRIPT),
    file!("books.js", JAVASCRIPT),
    file!("desk.js", JAVASCRIPT),
];

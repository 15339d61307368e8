//! The JavaScript that runs exported plans, as text: for programs that serve pages or start Node.
//! `web/README.md` says how to use it.

/// Runs exported plans on any object that is like `navigator.gpu`: an ES module without dependencies.
pub const RUNNER: &str = include_str!("../web/runner.js");

/// Every file that `tachylite check --runner` needs on its far side, [`RUNNER`] among them, by name.
/// `check.mjs` is what Node starts.
pub const CHECK: [(&str, &str); 5] = [
    ("runner.js", RUNNER),
    ("check.js", include_str!("../web/check.js")),
    ("check.mjs", include_str!("../web/check.mjs")),
    ("dawn.mjs", include_str!("../web/dawn.mjs")),
    ("chromium.mjs", include_str!("../web/chromium.mjs")),
];

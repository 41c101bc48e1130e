//! A real browser, without a window, that tests drive.

use std::path::PathBuf;
use std::process::Stdio;

use serde_json::{Value, json};
use tempfile::TempDir;
use thirtyfour::error::WebDriverError;
use thirtyfour::{
    BrowserLogEntry, By, ChromiumLikeCapabilities, DesiredCapabilities, Key, LoggingPrefsLogLevel, WebDriver,
    WebElement,
};
use tokio::process::{Child, Command};
use url::Url;

use crate::support::listening::{free_port, start};
use crate::support::{skip, until};

/// axe-core, which finds what keeps people with disabilities from using a page.
const AXE: &str = include_str!("axe.min.js");

/// Runs before every page: collects what the page's policy has refused.
const COLLECT_VIOLATIONS: &str = "
    window.violations = [];
    document.addEventListener('securitypolicyviolation', (event) => {
        window.violations.push(`${event.violatedDirective}: ${event.blockedURI} ${event.sample}`);
    });
";

/// The colors that the system prefers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colors {
    Light,
    Dark,
}

/// A browser with one page.
pub(super) struct DrivenBrowser {
    driver: WebDriver,
    base: Url,
    process: Child,
    _profile: TempDir,
}

fn program(names: &[&str]) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut programs = std::env::split_paths(&path).flat_map(|folder| names.iter().map(move |name| folder.join(name)));
    programs.find(|program| program.is_file())
}

impl DrivenBrowser {
    /// Starts one. `None` where it is not installed, which is said.
    pub(super) async fn start(base: &Url) -> Option<Self> {
        let programs = (program(&["chromedriver"]), program(&["chromium", "chromium-browser", "google-chrome"]));
        let (Some(driver), Some(browser)) = programs else {
            skip("no browser that can be driven is installed (apt-get install chromium chromium-driver)");
            return None;
        };
        let (port, profile) = (free_port(), tempfile::tempdir().unwrap());
        let mut command = Command::new(driver);
        command.arg(format!("--port={port}")).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let process = start(command, port).await;
        let mut wanted = DesiredCapabilities::chrome();
        wanted.set_binary(browser.to_str().unwrap()).unwrap();
        wanted.set_browser_log_level(LoggingPrefsLogLevel::All).unwrap();
        for argument in ["--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"]
        {
            wanted.add_arg(argument).unwrap();
        }
        wanted.add_arg(&format!("--user-data-dir={}", profile.path().display())).unwrap();
        let driver = WebDriver::new(format!("http://127.0.0.1:{port}"), wanted).await.unwrap();
        let this = Self { driver, base: base.clone(), process, _profile: profile };
        this.command("Page.addScriptToEvaluateOnNewDocument", json!({"source": COLLECT_VIOLATIONS})).await;
        this.look(1280, Colors::Light).await;
        Some(this)
    }

    async fn command(&self, name: &str, parameters: Value) {
        self.driver.cdp().send_raw(name, parameters).await.unwrap();
    }

    /// Sets how wide the screen is, and which colors the system prefers.
    pub(super) async fn look(&self, width: u32, colors: Colors) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.command("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if colors == Colors::Dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.command("Emulation.setEmulatedMedia", media).await;
    }

    /// Turns the page's scripts on or off.
    pub(super) async fn run_scripts(&self, run: bool) {
        self.command("Emulation.setScriptExecutionDisabled", json!({"value": !run})).await;
    }

    pub(super) async fn open(&self, path: &str) {
        self.driver.goto(self.base.join(path).unwrap().as_str()).await.unwrap();
    }

    /// The path and the query of the page.
    pub(super) async fn address(&self) -> String {
        let url = self.driver.current_url().await.unwrap();
        url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
    }

    /// What a person can read on the page.
    pub(super) async fn text(&self) -> String {
        // The page may be replaced while it is read.
        match self.driver.find(By::Tag("body")).await {
            Ok(body) => body.text().await.unwrap_or_default(),
            Err(_) => String::new(),
        }
    }

    /// Waits until the page says something.
    pub(super) async fn says(&self, words: &str) {
        until(&format!("the page to say {words:?}"), || async { self.text().await.contains(words).then_some(()) })
            .await;
    }

    /// The first element that matches, once there is one.
    pub(super) async fn find(&self, selector: &str) -> WebElement {
        until(&format!("{selector} to be there"), || async { self.driver.find(By::Css(selector)).await.ok() }).await
    }

    /// Clicks what has this text.
    pub(super) async fn click(&self, selector: &str, text: &str) {
        until(&format!("{selector} to say {text:?}"), || async {
            for element in self.driver.find_all(By::Css(selector)).await.ok()? {
                let found = element.text().await.unwrap_or_default();
                // What only screen readers say is on lines of its own.
                if found.split_whitespace().collect::<Vec<_>>().join(" ") == text {
                    return element.click().await.ok();
                }
            }
            None
        })
        .await;
    }

    pub(super) async fn type_into(&self, selector: &str, text: &str) {
        self.find(selector).await.send_keys(text).await.unwrap();
    }

    pub(super) async fn press_enter(&self, selector: &str) {
        self.find(selector).await.send_keys(Key::Enter).await.unwrap();
    }

    /// What a script in the page returns.
    pub(super) async fn evaluate(&self, script: &str) -> Value {
        self.try_evaluate(script).await.unwrap()
    }

    async fn try_evaluate(&self, script: &str) -> Result<Value, WebDriverError> {
        Ok(self.driver.execute(script, Vec::new()).await?.json().clone())
    }

    /// Waits until a script in the page returns true.
    pub(super) async fn holds(&self, script: &str) {
        until(script, || async { (self.try_evaluate(script).await.ok()? == true).then_some(()) }).await;
    }

    /// Fails if the page's policy has refused anything, if an error was logged, if the page is wider than the screen, or if
    /// it is hard to use for people with disabilities.
    pub(super) async fn check(&self, what: &str) {
        let violations = self.evaluate("return window.violations").await;
        assert_eq!(violations, json!([]), "{what}");
        let logged = self.driver.browser_log().await.unwrap();
        // A wrong token is answered with an error, which the browser logs.
        let is_error = |entry: &&BrowserLogEntry| entry.level == "SEVERE" && !entry.message.contains("status of 401");
        let errors: Vec<_> = logged.iter().filter(is_error).map(|entry| &entry.message).collect();
        assert!(errors.is_empty(), "{what}: {errors:?}");
        let width = "return document.documentElement.scrollWidth <= document.documentElement.clientWidth";
        assert_eq!(self.evaluate(width).await, true, "{what} is wider than the screen");
        self.check_accessibility(what).await;
    }

    async fn check_accessibility(&self, what: &str) {
        self.driver.execute(AXE, Vec::new()).await.unwrap();
        let run = "
            const done = arguments[0];
            axe.run({ resultTypes: ['violations'] }).then(({ violations }) => done(violations.map((it) =>
                [it.impact, it.id, it.help, ...it.nodes.map((node) => node.html + ' ' + node.failureSummary)])));
        ";
        let found = self.driver.execute_async(run, Vec::new()).await.unwrap();
        assert_eq!(*found.json(), json!([]), "{what}");
    }

    /// A picture of the page, down to its end if `whole`.
    pub(super) async fn picture(&self, whole: bool) -> Vec<u8> {
        use base64::Engine as _;
        let parameters = json!({"captureBeyondViewport": whole, "format": "png"});
        let picture = self.driver.cdp().send_raw("Page.captureScreenshot", parameters).await.unwrap();
        base64::prelude::BASE64_STANDARD.decode(picture["data"].as_str().unwrap()).unwrap()
    }

    pub(super) async fn quit(mut self) {
        self.driver.quit().await.unwrap();
        self.process.kill().await.unwrap();
    }
}

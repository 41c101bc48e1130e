//! What a browser does, without one: it keeps cookies, says where requests come from, and sends forms.

use std::collections::BTreeMap;

use reqwest::header::{CONTENT_TYPE, COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Response};
use sqlx::PgPool;
use url::{Url, form_urlencoded};

use crate::support::app::TOKEN;
use crate::support::{App, Options};

/// A token that may only read.
pub(super) const READER: &str = "reader-token";
/// A token for the metrics.
pub(super) const SCRAPER: &str = "scraper-token";

/// The service with its pages.
pub(super) async fn start(pool: &PgPool, flags: &[&str]) -> App {
    start_with(pool, Options::default(), flags).await
}

/// The same, otherwise than usual.
pub(super) async fn start_with(pool: &PgPool, options: Options, flags: &[&str]) -> App {
    let read = format!("--read-tokens={READER}");
    let metrics = format!("--metrics-tokens={SCRAPER}");
    let flags = [&["--ui-enabled=true", &read, &metrics], flags].concat();
    App::start_with(pool, Options { flags: Options::flags(&flags).flags, ..options }).await
}

/// A page as it came.
pub(super) struct Loaded {
    pub(super) status: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Loaded {
    async fn of(answer: Response) -> Self {
        Self { status: answer.status().as_u16(), headers: answer.headers().clone(), text: answer.text().await.unwrap() }
    }

    /// Where a redirect leads to.
    pub(super) fn location(&self) -> &str {
        self.headers.get(LOCATION).map(|it| it.to_str().unwrap()).unwrap_or_default()
    }

    /// The token of the page's forms.
    pub(super) fn form_token(&self) -> String {
        let (_, rest) = self.text.split_once(r#"name="form_token" value=""#).unwrap_or_else(|| panic!("{}", self.text));
        rest.split('"').next().unwrap().to_owned()
    }

    /// The `Set-Cookie` headers.
    pub(super) fn cookies(&self) -> Vec<&str> {
        self.headers.get_all(SET_COOKIE).iter().map(|it| it.to_str().unwrap()).collect()
    }
}

/// A browser.
#[derive(Clone)]
pub(super) struct Browser {
    client: Client,
    base: Url,
    cookies: BTreeMap<String, String>,
    /// Headers of every request.
    pub(super) headers: Vec<(&'static str, String)>,
}

impl Browser {
    pub(super) fn new(app: &App) -> Self {
        let base = app.api_base.clone().unwrap_or_else(|| app.base.clone());
        Self { client: app.client.clone(), base, cookies: BTreeMap::new(), headers: Vec::new() }
    }

    /// One that has logged in.
    pub(super) async fn logged_in(app: &App, token: &str) -> Self {
        let mut browser = Self::new(app);
        let answer = browser.log_in(token).await;
        assert_eq!((answer.status, answer.location()), (303, "/ui"), "{}", answer.text);
        browser
    }

    /// One that may do everything.
    pub(super) async fn operator(app: &App) -> Self {
        Self::logged_in(app, TOKEN).await
    }

    /// The same browser at another replica.
    pub(super) fn at(&self, app: &App) -> Self {
        Self { base: app.base.clone(), ..self.clone() }
    }

    fn prepared(&self, request: reqwest::RequestBuilder) -> reqwest::RequestBuilder {
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let request = if cookies.is_empty() { request } else { request.header(COOKIE, cookies.join("; ")) };
        self.headers.iter().fold(request, |request, (name, value)| request.header(*name, value))
    }

    async fn send(&mut self, request: reqwest::RequestBuilder) -> Loaded {
        let loaded = Loaded::of(self.prepared(request).send().await.unwrap()).await;
        for cookie in loaded.cookies() {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            if value.is_empty() {
                self.cookies.remove(name);
            } else {
                self.cookies.insert(name.to_owned(), value.to_owned());
            }
        }
        loaded
    }

    pub(super) async fn get(&mut self, path: &str) -> Loaded {
        self.send(self.client.get(self.base.join(path).unwrap())).await
    }

    /// Sends a form as one of our pages does.
    pub(super) async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Loaded {
        let origin = self.base.origin().ascii_serialization();
        self.post_from(&[("origin", &origin), ("sec-fetch-site", "same-origin")], path, fields).await
    }

    /// Sends a form, with headers that say where it comes from.
    pub(super) async fn post_from(&mut self, from: &[(&str, &str)], path: &str, fields: &[(&str, &str)]) -> Loaded {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.client.post(self.base.join(path).unwrap()).body(body);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.send(from.iter().fold(request, |request, (name, value)| request.header(*name, *value))).await
    }

    pub(super) async fn log_in(&mut self, token: &str) -> Loaded {
        let form_token = self.get("/ui/login").await.form_token();
        self.post("/ui/login", &[("form_token", &form_token), ("token", token)]).await
    }

    pub(super) async fn log_out(&mut self) -> Loaded {
        let form_token = self.get("/ui").await.form_token();
        self.post("/ui/logout", &[("form_token", &form_token)]).await
    }

    /// Whether the first page is shown.
    pub(super) async fn is_logged_in(&mut self) -> bool {
        let page = self.get("/ui").await;
        assert!(page.status == 200 || page.location().starts_with("/ui/login"), "{} {}", page.status, page.text);
        page.status == 200
    }
}

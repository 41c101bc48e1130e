//! The HTTP client for buckets, which turns every failure into a [`BucketError`].
//!
//! Guaranteed: the body of an error answer never reaches the client library, which would print it. At most [`ERROR_BYTES`] of
//! such a body are read, and only its error code and message are used.

use std::error::Error as _;
use std::pin::Pin;

use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::{BodyExt, Limited};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
    ReqwestConnector,
};
use object_store::{ClientOptions, Error};

use super::error::{BucketError, ErrorDetails, last_cause, one_line};

/// The maximum number of bytes read of an error answer.
const ERROR_BYTES: usize = 64 << 10;
/// The maximum size of an answer to a `POST`, which completes an upload or deletes objects.
const POST_BYTES: usize = 1 << 20;
/// The metadata services of clouds, which provide credentials. Only used if no credentials are configured.
const METADATA_HOSTS: [&str; 4] = ["169.254.169.254", "metadata.google.internal", "metadata", "[fd00:ec2::254]"];

/// Creates clients for a bucket.
#[derive(Debug)]
pub(super) struct BucketConnector {
    /// The error if no credentials are found.
    pub(super) no_credentials: BucketError,
    /// Another metadata service, with its port.
    pub(super) metadata_endpoint: Option<String>,
}

impl HttpConnector for BucketConnector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient, Error> {
        let inner = ReqwestConnector::default().connect(options)?;
        let (no_credentials, metadata_endpoint) = (self.no_credentials.clone(), self.metadata_endpoint.clone());
        Ok(HttpClient::new(StoreHttpService { inner, no_credentials, metadata_endpoint }))
    }
}

#[derive(Debug)]
struct StoreHttpService {
    inner: HttpClient,
    no_credentials: BucketError,
    metadata_endpoint: Option<String>,
}

impl HttpService for StoreHttpService {
    // Expanded by hand, because the trait was declared with `async_trait`.
    fn call<'client, 'call>(
        &'client self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + 'call>>
    where
        'client: 'call,
        Self: 'call,
    {
        Box::pin(self.execute(request))
    }
}

impl StoreHttpService {
    async fn execute(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (host, method) = (host(request.uri()), request.method().clone());
        let asks_for_credentials = self.gives_credentials(request.uri(), &host);
        let secrets = Secrets::of(&request);
        let response = match self.inner.execute(request).await {
            Ok(response) => response,
            // Retrying does not help: if there is a metadata service, it answers.
            Err(_) if asks_for_credentials => return Err(self.no_credentials()),
            Err(error) => return Err(unreachable(&host, &error)),
        };
        let status = response.status();
        if status.is_success() {
            return if method == Method::POST {
                checked(host, response, &secrets).await
            } else {
                Ok(watched(host, response))
            };
        }
        if asks_for_credentials {
            return Err(self.no_credentials());
        }
        let body = Limited::new(response.into_body(), ERROR_BYTES).collect().await;
        // OK to ignore: the status is sufficient.
        let reason = body.map(|body| secrets.redact(ErrorDetails::read(&body.to_bytes()))).unwrap_or_default();
        Err(error_response(host, status, reason))
    }

    fn gives_credentials(&self, uri: &Uri, host: &str) -> bool {
        let is_metadata_host = uri.host().is_some_and(|host| METADATA_HOSTS.contains(&host));
        is_metadata_host || self.metadata_endpoint.as_deref() == Some(host)
    }

    fn no_credentials(&self) -> HttpError {
        HttpError::new(HttpErrorKind::Unknown, self.no_credentials.clone())
    }
}

/// Host and port, without a user.
pub(super) fn host(uri: &Uri) -> String {
    let host = uri.host().unwrap_or_default();
    uri.port_u16().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// A successful answer to a `POST`, which may still contain an error in its body.
async fn checked(host: String, response: HttpResponse, secrets: &Secrets) -> Result<HttpResponse, HttpError> {
    let (parts, body) = response.into_parts();
    let body = match Limited::new(body, POST_BYTES).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => {
            let cause = last_cause(&*error);
            return Err(HttpError::new(HttpErrorKind::Interrupted, BucketError::Unreachable { host, cause }));
        }
    };
    if is_error(&body) {
        return Err(error_response(host, parts.status, secrets.redact(ErrorDetails::read(&body))));
    }
    Ok(HttpResponse::from_parts(parts, body.into()))
}

/// A successful answer whose body may still be interrupted.
fn watched(host: String, response: HttpResponse) -> HttpResponse {
    response.map(|body| HttpResponseBody::new(body.map_err(move |error| unreachable(&host, &error))))
}

fn unreachable(host: &str, error: &HttpError) -> HttpError {
    let cause = error.source().map(last_cause).unwrap_or_default();
    HttpError::new(error.kind(), BucketError::Unreachable { host: host.to_owned(), cause })
}

/// An error answer, marked as retryable for the client library if a retry may help.
fn error_response(host: String, status: StatusCode, reason: ErrorDetails) -> HttpError {
    let passes = status.is_success()
        || status.is_server_error()
        || matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::REQUEST_TIMEOUT);
    let kind = if passes { HttpErrorKind::Request } else { HttpErrorKind::Unknown };
    HttpError::new(kind, BucketError::Refused { host, status, reason })
}

/// The credentials in a request. A message that repeats them is not shown.
struct Secrets(Vec<HeaderValue>);

impl Secrets {
    fn of(request: &HttpRequest) -> Self {
        let names = [header::AUTHORIZATION.as_str(), "x-amz-security-token", "x-aws-ec2-metadata-token"];
        Self(names.iter().flat_map(|name| request.headers().get_all(*name)).cloned().collect())
    }

    fn redact(&self, reason: ErrorDetails) -> ErrorDetails {
        let is_repeated = |text: &String| {
            let values = self.0.iter().filter_map(|value| value.to_str().ok());
            values.flat_map(|value| value.split([' ', ','])).any(|word| word.len() >= 16 && text.contains(word))
        };
        ErrorDetails { message: reason.message.filter(|message| !is_repeated(message)), ..reason }
    }
}

/// Whether an answer's XML is an `<Error>`.
fn is_error(body: &[u8]) -> bool {
    let text = String::from_utf8_lossy(body);
    let text = text.trim_start();
    let root = if text.starts_with("<?") { text.split_once("?>").map_or("", |(_, rest)| rest) } else { text };
    root.trim_start().starts_with("<Error")
}

impl ErrorDetails {
    /// Reads the XML of S3, Google Cloud Storage, and Azure, and the JSON of their token servers.
    fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body);
        let (code, message) = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(json) => {
                let text = |pointer: &str| json.pointer(pointer).and_then(serde_json::Value::as_str).map(str::to_owned);
                (text("/error/status").or(text("/error")), text("/error/message").or(text("/error_description")))
            }
            Err(_) => (element(&text, "Code"), element(&text, "Message")),
        };
        let is_word = |code: &String| {
            code.len() <= 64 && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
        };
        Self {
            code: code.filter(is_word),
            message: message.map(|message| one_line(&message)).filter(|it| !it.is_empty()),
        }
    }
}

/// The text of the first element of this name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let escapes = [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&apos;", "'"), ("&amp;", "&")];
    Some(escapes.iter().fold(text.to_owned(), |text, (escape, char)| text.replace(escape, char)))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn only_code_and_message_of_an_error_answer_are_used() {
        for (body, code, message) in [
            (
                "<?xml version=\"1.0\"?><Error><Code>ExpiredToken</Code><Message>The provided token has &lt;expired&gt;.\
                 </Message><Token-0>hush</Token-0><HostId>hush</HostId></Error>",
                Some("ExpiredToken"),
                Some("The provided token has <expired>."),
            ),
            (
                "<Error><Code>AuthenticationFailed</Code><Message>Wrong.\nTime:1</Message>\
                 <AuthenticationErrorDetail>hush</AuthenticationErrorDetail></Error>",
                Some("AuthenticationFailed"),
                Some("Wrong. Time:1"),
            ),
            (
                r#"{"error":"invalid_grant","error_description":"Bad.","hush":"hush"}"#,
                Some("invalid_grant"),
                Some("Bad."),
            ),
            (
                r#"{"error":{"code":403,"message":"No.","status":"PERMISSION_DENIED"}}"#,
                Some("PERMISSION_DENIED"),
                Some("No."),
            ),
            ("<html>hush</html>", None, None),
            ("hush", None, None),
            ("<Error><Code>hush hush</Code><Message></Message></Error>", None, None),
            ("", None, None),
        ] {
            let reason = ErrorDetails::read(body.as_bytes());
            assert_eq!((reason.code.as_deref(), reason.message.as_deref()), (code, message), "{body}");
        }
    }

    #[test]
    fn a_message_that_repeats_the_session_token_is_dropped() {
        let mut request = HttpRequest::new(Bytes::new().into());
        request.headers_mut().insert("x-amz-security-token", HeaderValue::from_static("hush-hush-hush-hush"));
        let secrets = Secrets::of(&request);
        let reason = |message: &str| ErrorDetails { code: None, message: Some(message.to_owned()) };
        assert_eq!(secrets.redact(reason("no such token: hush-hush-hush-hush")), ErrorDetails::default());
        assert_eq!(secrets.redact(reason("no such token")), reason("no such token"));
    }

    #[test]
    fn an_error_in_the_body_of_a_success_is_an_error() {
        for (body, error) in [
            ("<?xml version=\"1.0\"?>\n<Error><Code>InternalError</Code></Error>", true),
            ("<Error><Code>SlowDown</Code></Error>", true),
            ("<DeleteResult><Error><Key>k</Key></Error></DeleteResult>", false),
            ("<CompleteMultipartUploadResult/>", false),
            ("", false),
        ] {
            assert_eq!(is_error(body.as_bytes()), error, "{body}");
        }
    }
}

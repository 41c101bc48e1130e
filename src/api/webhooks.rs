//! What renderhook posts to the application, for the `OpenAPI` document.

use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::path::{
    HttpMethod, Operation, OperationBuilder, ParameterBuilder, ParameterIn, PathItem, PathsBuilder,
};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};
use utoipa::openapi::{Components, ComponentsBuilder, ContentBuilder, Paths, Ref, Required, ResponseBuilder};

use crate::domain::NotificationType;
use crate::views::RenderView;

/// The tag of the operations.
pub(super) const TAG: &str = "notifications";

/// The body of a notification. It only describes what `notify` posts.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Notification)]
struct PostedBody {
    r#type: NotificationType,
    /// When it happened.
    timestamp: DateTime<Utc>,
    /// The render as it is at the time of the attempt, without `notifications`.
    data: RenderView,
}

/// The schemas that [`webhooks`] refers to.
pub(super) fn components() -> Components {
    ComponentsBuilder::new().schema_from::<PostedBody>().build()
}

/// An operation for each type that can be posted.
pub(super) fn webhooks() -> Paths {
    let types = NotificationType::ALL.into_iter().filter(|it| it.can_be_posted());
    let paths = PathsBuilder::new();
    types.fold(paths, |paths, it| paths.path(it.as_str(), PathItem::new(HttpMethod::Post, operation(it)))).build()
}

fn operation(notification_type: NotificationType) -> Operation {
    let (summary, description) = about(notification_type);
    let schema = Ref::from_schema_name(PostedBody::name());
    let body = RequestBodyBuilder::new()
        .content("application/json", ContentBuilder::new().schema(Some(schema)).build())
        .required(Some(Required::True));
    let accepted = ResponseBuilder::new().description("The notification is accepted. The body does not matter.");
    let gone =
        ResponseBuilder::new().description("The receiver does not want the notification. It is not posted again.");
    let others = ResponseBuilder::new().description("It is posted again later, with the same `webhook-id`.");
    let headers = [
        ("webhook-id", "The notification's id, the same in every attempt."),
        ("webhook-timestamp", "The Unix time of this attempt, in seconds."),
        (
            "webhook-signature",
            "`v1,` and the base64 HMAC-SHA256 of `id.timestamp.body`; one for each secret, separated by spaces.",
        ),
    ];
    let operation = OperationBuilder::new()
        .operation_id(Some(notification_type.as_str().replace('.', "_")))
        .tag(TAG)
        .summary(Some(summary))
        .description(Some(description))
        .securities(Some([utoipa::openapi::security::SecurityRequirement::default()]))
        .request_body(Some(body.build()))
        .response("2XX", accepted)
        .response("410", gone)
        .response("default", others);
    headers.into_iter().fold(operation, |operation, (name, text)| operation.parameter(header(name, text))).build()
}

fn header(name: &str, text: &str) -> ParameterBuilder {
    let text_schema = ObjectBuilder::new().schema_type(SchemaType::new(Type::String));
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::True)
        .description(Some(text))
        .schema(Some(text_schema))
}

/// The summary and the description of an operation.
fn about(notification_type: NotificationType) -> (&'static str, &'static str) {
    match notification_type {
        NotificationType::Ready => ("All files are stored", "The render is complete, and every file is stored."),
        NotificationType::Incomplete => (
            "Files are missing",
            "The render is complete, every file is stored or has failed, and at least one has failed, or fewer came than announced.",
        ),
        NotificationType::Failed => ("The render failed", "The status became `error`."),
        NotificationType::Canceled => ("The render was canceled", "The status became `canceled`."),
        NotificationType::Moved => ("The status changed", "Posted only if `NOTIFY_EVENTS` names it."),
        NotificationType::DownloadStored => ("A file was stored", "Only in the feed."),
        NotificationType::DownloadFailed => ("A file has failed", "Only in the feed."),
    }
}

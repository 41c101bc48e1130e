//! `GET /deliveries` and `GET /deliveries/{id}`: what Magic Hour sent, and what became of it.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::access::Need;
use crate::api::guard::RouteGuard;
use crate::api::parameters::{self, PageSize, QueryParameters, one_of, read};
use crate::api::renders::ApiState;
use crate::domain::DeliveryOutcome;
use crate::http::{CommonErrors, HttpError, Message};
use crate::runtime::REQUEST_TIMEOUT;
use crate::views::{self, DeliveryBodyView, DeliveryFilter, DeliveryView};

/// The query parameters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeliveriesParameters {
    /// Deliveries with this outcome.
    #[param(value_type = Option<DeliveryOutcome>)]
    outcome: Option<String>,
    /// Deliveries about this render.
    #[param(min_length = 1, max_length = 255, pattern = "^[^\\u0000]*$", example = "clx123")]
    render_id: Option<String>,
    /// The page size.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200, default = 50)]
    limit: Option<String>,
    /// The `next_cursor` of the previous page.
    #[param(pattern = "^[0-9]{1,18}$")]
    cursor: Option<String>,
}

/// The path parameters. The id is text here, so that an invalid one is answered like an unknown one.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Path)]
pub(super) struct DeliveryPath {
    /// The delivery's `id`.
    #[param(value_type = i64, minimum = 1)]
    id: String,
}

/// A page of deliveries.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryList {
    /// The deliveries, newest first.
    deliveries: Vec<DeliveryView>,
    /// The `cursor` of the next page; `null` on the last one.
    #[schema(required)]
    next_cursor: Option<String>,
}

/// The routes of deliveries.
pub(super) fn routes(guard: &RouteGuard) -> OpenApiRouter<Arc<ApiState>> {
    OpenApiRouter::new()
        .routes(guard.requires(Need::Read, routes!(list)))
        .routes(guard.requires(Need::Read, routes!(get)))
}

/// List deliveries, newest first
///
/// What Magic Hour sent and signed, whatever became of it, without the bodies. Kept for `EVENT_RETENTION`.
#[utoipa::path(
    get,
    path = "/deliveries",
    operation_id = "list_deliveries",
    tag = "operations",
    params(DeliveriesParameters),
    responses(
        (status = 200, description = "A page of deliveries.", body = DeliveryList),
        (status = 400, description = "A parameter is invalid, unknown or repeated.", body = Message),
        CommonErrors,
    ),
)]
async fn list(
    State(state): State<Arc<ApiState>>,
    QueryParameters(parameters): QueryParameters<DeliveriesParameters>,
) -> Result<Json<DeliveryList>, HttpError> {
    let limit = PageSize::LIST.limit(parameters.limit.as_ref())?;
    let filter = parameters.filter()?;
    let page = views::deliveries(state.database.pool(), &filter, limit);
    let page = state.database.with_timeout(REQUEST_TIMEOUT, page).await?;
    Ok(Json(DeliveryList { deliveries: page.deliveries, next_cursor: page.next.map(|id| id.to_string()) }))
}

impl DeliveriesParameters {
    fn filter(&self) -> Result<DeliveryFilter, HttpError> {
        // As strict as the pattern in the OpenAPI document, in which every text is a number that fits.
        let fits = |text: &String| text.len() <= 18 && text.bytes().all(|it| it.is_ascii_digit());
        let expected = || "the `next_cursor` of an earlier answer".to_owned();
        let before = read("cursor", self.cursor.as_ref(), expected)?;
        if !self.cursor.as_ref().is_none_or(fits) {
            return Err(parameters::must_be("cursor", &expected()));
        }
        Ok(DeliveryFilter {
            outcome: read("outcome", self.outcome.as_ref(), || {
                one_of(&DeliveryOutcome::ALL.map(DeliveryOutcome::as_str))
            })?,
            render: read("render_id", self.render_id.as_ref(), || "1 to 255 characters without U+0000".to_owned())?,
            before,
        })
    }
}

/// Get a delivery with its body
///
/// The body is what was sent, but for the queries of URLs in it, which are credentials.
#[utoipa::path(
    get,
    path = "/deliveries/{id}",
    operation_id = "get_delivery",
    tag = "operations",
    params(DeliveryPath),
    responses(
        (status = 200, description = "The delivery.", body = DeliveryBodyView),
        (status = 404, description = "The delivery is unknown, or is not kept any more.", body = Message),
        CommonErrors,
    ),
)]
async fn get(
    State(state): State<Arc<ApiState>>,
    path: Result<Path<DeliveryPath>, PathRejection>,
) -> Result<Json<DeliveryBodyView>, HttpError> {
    let unknown = || {
        HttpError::not_found(
            "there is no delivery with this id: they are kept for EVENT_RETENTION, and GET /deliveries lists them",
        )
    };
    let Path(DeliveryPath { id }) = path.map_err(|_| unknown())?;
    let id = id.parse().map_err(|_| unknown())?;
    let delivery = views::delivery(state.database.pool(), id);
    state.database.with_timeout(REQUEST_TIMEOUT, delivery).await?.map(Json).ok_or_else(unknown)
}

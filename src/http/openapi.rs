//! The API's OpenAPI description, generated from the code. `openapi.json` is a committed copy; a test checks it.

use super::{Api, connections, devices, export, health, jobs, lag, layers, providers, readings, webhooks};
use axum::Router;
use axum::http::{HeaderValue, header};
use axum::middleware::map_response;
use axum::response::Response;
use axum::routing::get;
use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::{Config, SwaggerUi};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Paceline",
        description = "Keeps the data of devices that live in metered third-party clouds fresh, without ever breaking \
                       a rate limit. Every error is a problem document (RFC 9457) whose `detail` says what to do."
    ),
    modifiers(&Bearer),
    tags(
        (name = "devices", description = "Latest values and their age"),
        (name = "history", description = "What was: readings as they came, or by steps"),
        (name = "jobs", description = "Refresh intervals and priorities"),
        (name = "providers", description = "What connections need, and what values readings hold"),
        (name = "connections", description = "Accounts at providers, their authorization and their devices"),
        (name = "webhooks", description = "Addresses to which changes are posted"),
        (name = "lag", description = "How late refreshes are"),
        (name = "health", description = "For operators"),
    )
)]
struct Description;

struct Bearer;

impl Modify for Bearer {
    fn modify(&self, openapi: &mut OpenApi) {
        let mut http = Http::new(HttpAuthScheme::Bearer);
        http.description = Some("A key of your tenant, which the operator gives you".to_owned());
        openapi
            .components
            .get_or_insert_default()
            .security_schemes
            .insert("bearer".to_owned(), SecurityScheme::Http(http).into());
    }
}

/// All endpoints with their descriptions.
///
/// Requests may take as long, and bring as much, as their endpoint needs.
pub(super) fn routes(body_bytes_max: usize, import_bytes_max: usize) -> OpenApiRouter<Api> {
    let waits = OpenApiRouter::new()
        .routes(routes!(jobs::show_refresh))
        .layer(layers::within(layers::REQUEST_TIMEOUT + jobs::WAIT_MAX));
    let tests = OpenApiRouter::new()
        .routes(routes!(webhooks::act::test))
        .layer(layers::within(layers::REQUEST_TIMEOUT + webhooks::act::TEST_MAX));
    let imports = OpenApiRouter::new()
        .routes(routes!(connections::import::import))
        .layer(layers::bodies_up_to(import_bytes_max))
        .layer(layers::within(layers::IMPORT_TIMEOUT));
    quick()
        .layer(layers::within(layers::REQUEST_TIMEOUT))
        .merge(waits)
        .merge(tests)
        .layer(layers::bodies_up_to(body_bytes_max))
        .merge(imports)
}

fn quick() -> OpenApiRouter<Api> {
    OpenApiRouter::with_openapi(<Description as utoipa::OpenApi>::openapi())
        .routes(routes!(devices::list))
        .routes(routes!(devices::show, devices::change::patch, devices::change::delete))
        .routes(routes!(devices::stream))
        .routes(routes!(readings::of_device))
        .routes(routes!(readings::of_many))
        .routes(routes!(jobs::show, jobs::put, jobs::follow))
        .routes(routes!(connections::preferences::list))
        .routes(routes!(connections::preferences::put, connections::preferences::delete))
        .routes(routes!(jobs::patch))
        .routes(routes!(jobs::plan))
        .routes(routes!(jobs::refresh_job))
        .routes(routes!(jobs::refresh_many))
        .routes(routes!(providers::list))
        .routes(routes!(providers::show))
        .routes(routes!(connections::list, connections::add))
        .routes(routes!(connections::one::show, connections::one::patch, connections::one::delete))
        .routes(routes!(connections::test::test))
        .routes(routes!(connections::put_secrets))
        .routes(routes!(connections::put_plan))
        .routes(routes!(connections::authorize))
        .routes(routes!(connections::authorize::start, connections::authorize::go_on))
        .routes(routes!(connections::authorize::callback))
        .routes(routes!(connections::discover::discover))
        .routes(routes!(export::export))
        .routes(routes!(webhooks::list, webhooks::add))
        .routes(routes!(webhooks::show, webhooks::change, webhooks::remove))
        .routes(routes!(webhooks::act::rotate))
        .routes(routes!(webhooks::act::replay))
        .routes(routes!(lag::show))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
}

/// What the page of the description may load: its own files, and nothing of others. Its styles are in its elements.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
                           img-src 'self' data:; connect-src 'self'; base-uri 'none'; frame-ancestors 'none'";

/// The endpoints that serve the description: for programs, and as a page at `/docs`.
pub(super) fn serve(document: &OpenApi) -> Router<Api> {
    let text = text(document);
    let page: Router<Api> = SwaggerUi::new("/docs").config(Config::new(["/openapi.json"])).into();
    let page = page.layer(map_response(async |mut page: Response| {
        page.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(PAGE_POLICY));
        page
    }));
    Router::new()
        .route("/openapi.json", get(async move || ([(header::CONTENT_TYPE, "application/json")], text)))
        .merge(page)
}

/// The description, formatted as in `openapi.json`.
pub fn document() -> String {
    text(routes(usize::MAX, usize::MAX).get_openapi())
}

fn text(document: &OpenApi) -> String {
    // Through a `Value`, whose keys are sorted: a change of code then changes few lines of the file.
    serde_json::to_value(document).map(|value| format!("{value:#}\n")).unwrap_or_default()
}

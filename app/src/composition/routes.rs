//! Routes together with their descriptions.

use doorstep_adapters::http::openapi::Document;
use doorstep_adapters::http::{self, Endpoints, Router};

/// Endpoint families together with their descriptions for `/openapi.json`.
#[derive(Default)]
pub struct Routes {
    router: Router,
    descriptions: Vec<Document>,
}

impl Routes {
    /// An endpoint family with its description.
    pub fn described(router: Router, description: Document) -> Self {
        Self { router, descriptions: vec![description] }
    }

    /// Routes that are not part of the API, such as files.
    pub fn hidden(router: Router) -> Self {
        Self { router, descriptions: Vec::new() }
    }

    /// Combines two sets of routes.
    #[must_use]
    pub fn merge(mut self, others: Self) -> Self {
        self.descriptions.extend(others.descriptions);
        Self { router: self.router.merge(others.router), descriptions: self.descriptions }
    }

    /// Wraps the routes in a layer.
    #[must_use]
    pub fn map(self, layer: impl FnOnce(Router) -> Router) -> Self {
        Self { router: layer(self.router), descriptions: self.descriptions }
    }

    /// What the server serves: all families, `/openapi.json`, and what all of them share.
    pub fn into_endpoints(self) -> Endpoints {
        Endpoints::new(self.router.merge(http::openapi::router(self.descriptions)))
    }
}

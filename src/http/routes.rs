//! The one table of routes: the router, the access of each route and the document are made from it.

use super::api::Api;
use super::auth::Access;
use super::{
    admin, approvals, autonomy, cases, events, generations, health, metrics, notices, people, policies,
    reviews, stateless, stops,
};
use axum::handler::Handler;
use axum::http::Method;
use axum::routing::{MethodRouter, delete, get, post};
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa::openapi::{RefOr, Schema};

pub struct Route<S = Arc<Api>> {
    pub method: Method,
    pub path: &'static str,
    pub access: Access,
    pub handler: MethodRouter<S>,
    pub about: About,
    /// Whether it may take as long as it does.
    pub takes_time: bool,
}

/// What the document says of a route. Errors that follow from access, body and path are added to it.
#[derive(Default)]
pub struct About {
    pub summary: &'static str,
    /// A JSON body.
    pub takes: Option<Described>,
    /// A body that is a file's bytes.
    pub file: Option<&'static str>,
    pub gives: Vec<(u16, &'static str, Option<Described>)>,
    /// Media type of the answers, when it is not JSON.
    pub media: Option<&'static str>,
    /// Further errors.
    pub refuses: Vec<(u16, &'static str)>,
    pub headers: Vec<(&'static str, &'static str)>,
    pub query: Vec<(&'static str, &'static str)>,
}

/// A schema, and those that it refers to.
#[derive(Clone)]
pub struct Described {
    pub name: String,
    pub schema: RefOr<Schema>,
    pub parts: Vec<(String, RefOr<Schema>)>,
}

impl Described {
    pub fn of<T: ToSchema>() -> Self {
        let mut parts = Vec::new();
        T::schemas(&mut parts);
        Self { name: T::name().into_owned(), schema: T::schema(), parts }
    }
}

impl<S: Clone + Send + Sync + 'static> Route<S> {
    pub fn get<H: Handler<T, S>, T: 'static>(
        path: &'static str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new((Method::GET, path), access, summary, get(handler))
    }

    pub fn post<H: Handler<T, S>, T: 'static>(
        path: &'static str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new((Method::POST, path), access, summary, post(handler))
    }

    pub fn delete<H: Handler<T, S>, T: 'static>(
        path: &'static str,
        access: Access,
        summary: &'static str,
        handler: H,
    ) -> Self {
        Self::new((Method::DELETE, path), access, summary, delete(handler))
    }

    fn new(
        (method, path): (Method, &'static str),
        access: Access,
        summary: &'static str,
        handler: MethodRouter<S>,
    ) -> Self {
        let about = About { summary, ..About::default() };
        Self { method, path, access, handler, about, takes_time: false }
    }

    /// The work goes on to its end, and the answer comes then: no limit of time may tell of it what is not so. What is
    /// read of the request has one.
    pub fn takes_time(mut self) -> Self {
        self.takes_time = true;
        self
    }

    /// A body that is a file's bytes, and what of it is said.
    pub fn takes_file(mut self, what: &'static str) -> Self {
        self.about.file = Some(what);
        self
    }

    pub fn takes<T: ToSchema>(mut self) -> Self {
        self.about.takes = Some(Described::of::<T>());
        self
    }

    pub fn gives<T: ToSchema>(mut self, status: u16, what: &'static str) -> Self {
        self.about.gives.push((status, what, Some(Described::of::<T>())));
        self
    }

    /// An answer that is not JSON.
    pub fn streams(mut self, media: &'static str, what: &'static str) -> Self {
        self.about.media = Some(media);
        self.about.gives.push((200, what, None));
        self
    }

    pub fn refuses(mut self, status: u16, what: &'static str) -> Self {
        self.about.refuses.push((status, what));
        self
    }

    pub fn header(mut self, name: &'static str, what: &'static str) -> Self {
        self.about.headers.push((name, what));
        self
    }

    pub fn query(mut self, name: &'static str, what: &'static str) -> Self {
        self.about.query.push((name, what));
        self
    }
}

pub fn table() -> Vec<Route> {
    [
        health::routes(),
        cases::routes(),
        events::routes(),
        approvals::routes(),
        people::routes(),
        reviews::routes(),
        autonomy::routes(),
        stops::routes(),
        notices::routes(),
        stateless::routes(),
        admin::routes(),
        policies::routes(),
        generations::routes(),
        metrics::routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

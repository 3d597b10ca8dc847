//! One route: what it takes and answers, from the types that it reads and writes.

use std::collections::BTreeMap;

use problem::ProblemCode;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use utoipa::openapi::path::{OperationBuilder, ParameterBuilder, ParameterIn};
use utoipa::openapi::request_body::RequestBodyBuilder;
use utoipa::openapi::response::Response;
use utoipa::openapi::{
    ContentBuilder, HttpMethod, ObjectBuilder, Ref, RefOr, Required, Schema, SecurityRequirement,
    Type,
};
use utoipa::{PartialSchema, ToSchema};

use super::problems;

/// One method of one path.
pub(crate) struct Route {
    method: HttpMethod,
    path: &'static str,
    operation: OperationBuilder,
    security: Vec<SecurityRequirement>,
    responses: BTreeMap<u16, Response>,
    pub(super) codes: Vec<ProblemCode>,
    pub(super) schemas: BTreeMap<String, RefOr<Schema>>,
}

impl Route {
    fn new(method: HttpMethod, path: &'static str, id: &str, summary: &str) -> Self {
        Self {
            method,
            path,
            operation: OperationBuilder::new().operation_id(Some(id)).summary(Some(summary)),
            security: Vec::new(),
            responses: BTreeMap::new(),
            codes: vec![ProblemCode::Internal],
            schemas: BTreeMap::new(),
        }
    }

    /// A route that reads; `id` names it in clients that are made from the document.
    pub(crate) fn get(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Get, path, id, summary)
    }

    /// A route that does something.
    pub(crate) fn post(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Post, path, id, summary)
    }

    /// A route that changes something.
    pub(crate) fn patch(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Patch, path, id, summary)
    }

    /// A route that puts something in the place of what is there.
    pub(crate) fn put(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Put, path, id, summary)
    }

    /// A route that takes something away.
    pub(crate) fn delete(path: &'static str, id: &str, summary: &str) -> Self {
        Self::new(HttpMethod::Delete, path, id, summary)
    }

    /// Its chapter, and what it does in plain words.
    pub(crate) fn says(mut self, tag: &str, description: &str) -> Self {
        self.operation = self.operation.tag(tag).description(Some(description));
        self
    }

    /// It needs an access token, and can answer whatever the verifier says of one.
    pub(crate) fn bearer(mut self) -> Self {
        self.security.push(SecurityRequirement::new::<_, [&str; 0], &str>("bearer", []));
        self.problems(&[
            ProblemCode::InvalidRequest,
            ProblemCode::Unauthenticated,
            ProblemCode::InvalidToken,
            ProblemCode::Unavailable,
            ProblemCode::RevocationStale,
        ])
    }

    /// It takes one of these credentials, or none.
    pub(crate) fn optionally(mut self, schemes: &[&str]) -> Self {
        let one = |name: &&str| SecurityRequirement::new::<_, [&str; 0], &str>(*name, []);
        self.security.extend(schemes.iter().map(one));
        self.security.push(SecurityRequirement::default());
        self
    }

    /// A part of the path, or a header that may be there.
    pub(crate) fn parameter(
        mut self,
        place: ParameterIn,
        name: &str,
        text: &str,
        example: &str,
    ) -> Self {
        let required = if place == ParameterIn::Path { Required::True } else { Required::False };
        let parameter = ParameterBuilder::new()
            .name(name)
            .parameter_in(place)
            .required(required)
            .description(Some(text))
            .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
            .example(Some(example.into()));
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// It reads a `T` in one of these media types.
    ///
    /// # Panics
    /// When the example is none.
    pub(crate) fn takes<T>(mut self, media: &[&str], required: Required, example: &Value) -> Self
    where
        T: ToSchema + DeserializeOwned,
    {
        let read = serde_json::from_value::<T>(example.clone()).map(drop);
        read.unwrap_or_else(|error| panic!("the example of {}: {error}", self.path));
        add_schemas::<T>(&mut self.schemas);
        let mut body = RequestBodyBuilder::new().required(Some(required));
        for media in media {
            let content = ContentBuilder::new()
                .schema(Some(Ref::from_schema_name(T::name())))
                .example(Some(example.clone()));
            body = body.content(*media, content.build());
        }
        self.operation = self.operation.request_body(Some(body.build()));
        self.problems(&[
            ProblemCode::InvalidRequest,
            ProblemCode::RequestTimeout,
            ProblemCode::PayloadTooLarge,
            ProblemCode::UnsupportedMediaType,
        ])
    }

    /// It answers like this when all is well.
    ///
    /// # Panics
    /// When the example is no JSON.
    pub(crate) fn answers<T>(self, status: u16, text: &str, example: &T) -> Self
    where
        T: ToSchema + Serialize,
    {
        self.answers_as("application/json", status, text, example)
    }

    /// The same in another media type.
    ///
    /// # Panics
    /// When the example is no JSON.
    pub(crate) fn answers_as<T>(mut self, media: &str, status: u16, text: &str, example: &T) -> Self
    where
        T: ToSchema + Serialize,
    {
        add_schemas::<T>(&mut self.schemas);
        let content = ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(T::name())))
            .example(Some(serde_json::to_value(example).expect("an example is JSON")));
        self.response(status, text).content.insert(media.to_owned(), content.build().into());
        self
    }

    /// It answers with text of this type.
    pub(crate) fn text(mut self, media: &str, text: &str, example: &str) -> Self {
        let content = ContentBuilder::new().schema(Some(String::schema()));
        let content = content.example(Some(example.into())).build();
        self.response(200, text).content.insert(media.to_owned(), content.into());
        self
    }

    /// It answers with a status alone.
    pub(crate) fn empty(mut self, status: u16, text: &str) -> Self {
        self.response(status, text);
        self
    }

    /// A header that comes with this status.
    pub(crate) fn header(mut self, status: u16, name: &str, text: &str) -> Self {
        self.response(status, "").headers.insert(name.to_owned(), problems::header(text).into());
        self
    }

    /// It may answer these problems.
    pub(crate) fn problems(mut self, codes: &[ProblemCode]) -> Self {
        self.codes.extend(codes);
        self
    }

    fn response(&mut self, status: u16, text: &str) -> &mut Response {
        self.responses.entry(status).or_insert_with(|| Response::new(text))
    }

    pub(super) fn finish(self) -> (&'static str, HttpMethod, OperationBuilder) {
        let mut operation = self.operation;
        for (status, response) in self.responses {
            operation = operation.response(status.to_string(), response);
        }
        for (status, response) in problems::responses(&self.codes) {
            operation = operation.response(status.to_string(), response);
        }
        let security = (!self.security.is_empty()).then_some(self.security);
        (self.path, self.method, operation.securities(security))
    }
}

/// `T` and what it is made of.
pub(super) fn add_schemas<T: ToSchema>(to: &mut BTreeMap<String, RefOr<Schema>>) {
    let mut all = vec![(T::name().into_owned(), T::schema())];
    T::schemas(&mut all);
    to.extend(all);
}

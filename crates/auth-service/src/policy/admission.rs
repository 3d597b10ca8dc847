//! Who may try: each route's attempts, charged to the counters of [`crate::limits`].

mod buckets;
mod login;
mod owner;
mod refusal;
mod routes;

pub(crate) use login::login;
pub(crate) use owner::Applicant;
pub(crate) use routes::{administrator, export, forged, names, password, refresh, register};

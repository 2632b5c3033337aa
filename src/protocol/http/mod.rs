//! HTTP/1.1 (RFC 9110, RFC 9112): requests in, responses out, and the formats around them.

pub mod body;
pub mod error;
pub mod forwarded;
pub mod multipart;
pub mod proxy;
pub mod request;
pub mod response;

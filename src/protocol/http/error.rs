//! The faults of a request, and the whole response that the client gets for each.
//!
//! Every error here ends the connection, since the loop cannot tell where the next request begins
//! (RFC 9112 §2.2 and §6.3).

use thiserror::Error;

/// A fault, mostly of the client. The reason is for logs; the client gets only the status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HttpError {
    #[error("bad request: {0}")]
    BadRequest(&'static str),
    /// The head or the trailers are longer, or have more fields, than the limits allow (RFC 6585 §5).
    #[error("request header fields too large")]
    HeaderFieldsTooLarge,
    /// RFC 9110 §15.5.9.
    #[error("request timeout")]
    RequestTimeout,
    /// RFC 9110 §15.5.14.
    #[error("content too large")]
    ContentTooLarge,
    /// Nobody's fault: too much is being received already (RFC 9110 §15.6.4).
    #[error("service unavailable")]
    Unavailable,
    #[error("HTTP version not supported")]
    VersionNotSupported,
}

impl HttpError {
    pub fn status(&self) -> u16 {
        match self {
            HttpError::BadRequest(_) => 400,
            HttpError::HeaderFieldsTooLarge => 431,
            HttpError::RequestTimeout => 408,
            HttpError::ContentTooLarge => 413,
            HttpError::Unavailable => 503,
            HttpError::VersionNotSupported => 505,
        }
    }

    /// The complete response, to be written as it is before the connection is closed.
    pub fn response(&self) -> &'static [u8] {
        match self {
            HttpError::BadRequest(_) => BAD_REQUEST,
            HttpError::HeaderFieldsTooLarge => HEADER_FIELDS_TOO_LARGE,
            HttpError::RequestTimeout => REQUEST_TIMEOUT,
            HttpError::ContentTooLarge => CONTENT_TOO_LARGE,
            HttpError::Unavailable => UNAVAILABLE,
            HttpError::VersionNotSupported => VERSION_NOT_SUPPORTED,
        }
    }
}

macro_rules! page {
    ($status:literal, $length:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nConnection: close\r\nContent-Type: text/html\r\nContent-Length: ",
            $length,
            "\r\n\r\n<!doctype html><title>",
            $status,
            "</title><h1>",
            $status,
            "</h1>"
        )
        .as_bytes()
    };
}

const BAD_REQUEST: &[u8] = page!("400 Bad Request", "69");
const HEADER_FIELDS_TOO_LARGE: &[u8] = page!("431 Request Header Fields Too Large", "109");
const REQUEST_TIMEOUT: &[u8] = page!("408 Request Timeout", "77");
const CONTENT_TOO_LARGE: &[u8] = page!("413 Content Too Large", "81");
const UNAVAILABLE: &[u8] = page!("503 Service Unavailable", "85");
const VERSION_NOT_SUPPORTED: &[u8] = page!("505 HTTP Version Not Supported", "99");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_whole_and_their_length_is_true() {
        for error in [
            HttpError::BadRequest("x"),
            HttpError::HeaderFieldsTooLarge,
            HttpError::RequestTimeout,
            HttpError::ContentTooLarge,
            HttpError::Unavailable,
            HttpError::VersionNotSupported,
        ] {
            let text = std::str::from_utf8(error.response()).unwrap();
            let (head, body) = text.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {} ", error.status())), "{head}");
            assert!(head.contains("\r\nConnection: close\r\n"));
            assert!(head.ends_with(&format!("\r\nContent-Length: {}", body.len())), "{head} {}", body.len());
        }
    }
}

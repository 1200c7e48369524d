//! Where the client believes it is talking to: scheme and host of this request.

use http::Request;
use http::header::HOST;
use http::uri::Authority;

/// Scheme and host as the client sees them. The server puts one into the extensions of each
/// request, since only it knows of TLS and of trusted proxies; without one it is plain HTTP and the
/// `Host` header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// `http` or `https`.
    pub scheme: &'static str,
    /// Host with port, as the client wrote it.
    pub host: String,
}

impl Origin {
    /// The origin of a request.
    pub fn of<B>(request: &Request<B>) -> Self {
        if let Some(origin) = request.extensions().get::<Self>() {
            return origin.clone();
        }
        Self { scheme: "http", host: request_host(request) }
    }

    /// The host without its port.
    pub fn host_name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }
}

/// The host that a request names: its `Host` header, or the authority of an HTTP/2 request.
/// A scheme before the host, which some clients send, is dropped; a host with characters that no
/// host has becomes `localhost`, so that it can be written into headers.
pub fn request_host<B>(request: &Request<B>) -> String {
    let header = request.headers().get(HOST).and_then(|value| value.to_str().ok());
    let host = header.or_else(|| request.uri().authority().map(Authority::as_str));
    clean_host(host.unwrap_or_default())
}

/// See [`request_host`].
pub fn clean_host(host: &str) -> String {
    let host = host.trim();
    let host =
        host.strip_prefix("http://").or_else(|| host.strip_prefix("https://")).unwrap_or(host);
    let host = host.trim_end_matches('/');
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if host.is_empty() || host.len() > 255 || !host.bytes().all(allowed) {
        return "localhost".to_owned();
    }
    host.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        assert_eq!(clean_host("127.0.0.1:5000"), "127.0.0.1:5000");
        assert_eq!(clean_host("http://127.0.0.1:5000"), "127.0.0.1:5000");
        assert_eq!(clean_host("[::1]:5000"), "[::1]:5000");
        assert_eq!(clean_host("a\", scope=\"x"), "localhost");
        assert_eq!(clean_host(""), "localhost");
        let origin = |host: &str| Origin { scheme: "http", host: host.to_owned() };
        assert_eq!(origin("[::1]:5000").host_name(), "[::1]");
        assert_eq!(origin("example.com").host_name(), "example.com");
        assert_eq!(origin("example.com:80").host_name(), "example.com");
    }
}

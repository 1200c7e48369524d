//! What strangers and clients may use up, and how the rest of the server asks for it.
//!
//! Everything here is decided before a handler runs, or beside it. As long as nobody exceeds a
//! limit it costs a few atomic operations: no lock, no allocation.

mod address;
mod body;
mod link;
mod pace;
mod refusal;
mod stream;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use berth_auth::{ClientAddress, RateLimit, Rates};
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Version};
use ipnet::IpNet;

use self::address::client_address;
pub(crate) use self::body::Intake;
use self::body::{Reading, watch};
pub(crate) use self::link::{Link, OpenRequest, Verdict};
pub(crate) use self::pace::PaceRule;
pub(crate) use self::refusal::{Refusal, count};
pub(crate) use self::stream::Guarded;
use crate::config::Config;
use crate::listener::Peer;

/// Header fields of a request, as many as HTTP/1's parser takes.
const HEADER_FIELDS: usize = 100;

/// The limits of one server, and what is used of them.
pub(crate) struct Limits {
    trust_proxy: bool,
    proxies: Vec<IpNet>,
    header_size: usize,
    uri_length: usize,
    body: PaceRule,
    requests: usize,
    running: AtomicUsize,
    addresses: Option<Rates<ClientAddress>>,
}

/// A request that was let in.
pub(crate) struct Admission {
    intake: Option<Arc<Intake>>,
    link: Option<Arc<Link>>,
    version: Version,
}

/// One of the requests that may run at the same time, until it is dropped.
pub(crate) struct Slot(Arc<Limits>);

impl Drop for Slot {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

fn as_usize(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

impl Limits {
    pub(crate) fn new(config: &Config) -> Self {
        let limits = &config.limits;
        Self {
            trust_proxy: config.server.trust_proxy,
            proxies: limits.proxies.clone(),
            header_size: as_usize(limits.header_size),
            uri_length: as_usize(limits.uri_length),
            body: PaceRule { timeout: limits.body_timeout, rate: limits.minimum_rate },
            requests: if limits.requests == 0 { usize::MAX } else { limits.requests },
            running: AtomicUsize::new(0),
            addresses: RateLimit::new(limits.address_rate, limits.address_burst).map(Rates::new),
        }
    }

    /// Lets a request in, and puts a watch over its body.
    ///
    /// # Errors
    /// The [`Refusal`], to be answered with its response.
    pub(crate) fn admit(
        self: &Arc<Self>,
        request: &mut Request,
    ) -> Result<(Admission, Option<Slot>), Refusal> {
        let peer = request.extensions().get::<Peer>();
        let link = peer.map(|peer| Arc::clone(&peer.link));
        let address = peer.map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.address.ip());
        let address = client_address(address, request.headers(), self.trust_proxy, &self.proxies);
        let path = request.uri().path();
        let exempt = matches!(path, "/healthz" | "/readyz" | "/metrics");
        let slot = match self.check(request, address, exempt) {
            Ok(slot) => slot,
            Err(refusal) => {
                if let Some(link) = link.filter(|_| !http_body::Body::is_end_stream(request.body()))
                {
                    link.leave_unread();
                }
                return Err(refusal);
            }
        };
        // Where wrong secrets are counted.
        request.extensions_mut().insert(address);
        let version = request.version();
        let (body, intake) = watch(std::mem::take(request.body_mut()), self.body);
        *request.body_mut() = body;
        Ok((Admission { intake, link, version }, slot))
    }

    fn check(
        self: &Arc<Self>,
        request: &Request,
        address: ClientAddress,
        exempt: bool,
    ) -> Result<Option<Slot>, Refusal> {
        let headers = request.headers();
        let length = |(name, value): (&http::HeaderName, &HeaderValue)| {
            name.as_str().len() + value.as_bytes().len() + 4
        };
        if headers.len() > HEADER_FIELDS
            || headers.iter().map(length).sum::<usize>() > self.header_size
        {
            return Err(Refusal::HeaderSize);
        }
        let query = request.uri().query().map_or(0, |query| query.len() + 1);
        if request.uri().path().len() + query > self.uri_length {
            return Err(Refusal::UriLength);
        }
        if exempt {
            return Ok(None);
        }
        if let Some(rates) = &self.addresses {
            rates.take(&address).map_err(Refusal::AddressRate)?;
        }
        self.slot().map(Some).ok_or(Refusal::Full)
    }

    fn slot(self: &Arc<Self>) -> Option<Slot> {
        let slot = Slot(Arc::clone(self));
        let before = self.running.fetch_add(1, Ordering::Relaxed);
        (before < self.requests).then_some(slot)
    }
}

impl Admission {
    /// What was read of the body so far; `None` when there is none.
    pub(crate) fn intake(&self) -> Option<&Arc<Intake>> {
        self.intake.as_ref()
    }

    /// Looks at the answer: says 408 where the client was too slow.
    pub(crate) fn settle(self, mut response: Response<Body>) -> Response {
        let Some(intake) = &self.intake else { return response };
        let reading = intake.reading();
        if reading == Reading::Finished {
            return response;
        }
        if let Some(link) = &self.link {
            link.leave_unread();
        }
        if reading == Reading::TimedOut && !response.status().is_success() {
            *response.status_mut() = StatusCode::REQUEST_TIMEOUT;
            if self.version < Version::HTTP_2 {
                let close = HeaderValue::from_static("close");
                response.headers_mut().insert(CONNECTION, close);
            }
        }
        response
    }
}

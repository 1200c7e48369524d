//! Who is counted as one stranger.

use std::net::IpAddr;

use berth_auth::ClientAddress;
use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The address of the client: of the connection or, behind a proxy, the right-most one in
/// `X-Forwarded-For` that is no further proxy. What stands left of it anybody could have written.
pub(crate) fn client_address(
    peer: IpAddr,
    headers: &HeaderMap,
    trust_proxy: bool,
    proxies: &[IpNet],
) -> ClientAddress {
    if !trust_proxy {
        return peer.into();
    }
    let mut found = peer;
    'lines: for line in headers.get_all(FORWARDED_FOR).iter().rev() {
        let Ok(line) = line.to_str() else { break };
        for entry in line.rsplit(',') {
            let Some(address) = read(entry.trim()) else { break 'lines };
            found = address;
            if !proxies.iter().any(|network| network.contains(&address.to_canonical())) {
                break 'lines;
            }
        }
    }
    found.into()
}

/// An address with or without port, IPv6 with or without brackets.
fn read(entry: &str) -> Option<IpAddr> {
    if let Ok(address) = entry.parse() {
        return Some(address);
    }
    if let Some(rest) = entry.strip_prefix('[') {
        return rest.split_once(']')?.0.parse().ok();
    }
    entry.rsplit_once(':')?.0.parse().ok()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn address(text: &str) -> ClientAddress {
        text.parse::<IpAddr>().expect("address").into()
    }

    #[test]
    fn what_the_nearest_proxy_wrote_is_believed() {
        let peer = "10.0.0.1".parse().expect("address");
        let proxies: Vec<IpNet> = vec!["172.16.0.0/12".parse().expect("network")];
        let from = |lines: &[&str], trust: bool| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append(FORWARDED_FOR, HeaderValue::from_str(line).expect("value"));
            }
            client_address(peer, &headers, trust, &proxies)
        };
        assert_eq!(from(&["192.0.2.7"], false), address("10.0.0.1"));
        assert_eq!(from(&[], true), address("10.0.0.1"));
        assert_eq!(from(&["1.1.1.1, 192.0.2.7"], true), address("192.0.2.7"));
        assert_eq!(from(&["1.1.1.1", "192.0.2.7"], true), address("192.0.2.7"));
        assert_eq!(from(&["1.1.1.1, 192.0.2.7, 172.16.0.9"], true), address("192.0.2.7"));
        assert_eq!(from(&["1.1.1.1, 192.0.2.7", "172.16.0.9"], true), address("192.0.2.7"));
        assert_eq!(from(&["192.0.2.7:4711"], true), address("192.0.2.7"));
        assert_eq!(from(&["[2001:db8::1]:4711"], true), address("2001:db8::1"));
        assert_eq!(from(&["2001:db8::1"], true), address("2001:db8::1"));
        // What cannot be read ends the search: nothing left of it is believed.
        assert_eq!(from(&["1.1.1.1, unknown, 172.16.0.9"], true), address("172.16.0.9"));
        assert_eq!(from(&["1.1.1.1, x"], true), address("10.0.0.1"));
    }
}

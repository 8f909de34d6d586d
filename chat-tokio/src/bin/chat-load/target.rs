//! Where the server is: `ws://host[:port][/path]`.
use std::net::ToSocketAddrs;

use http::Uri;

use super::error::Failed;
use super::plan::Target;

impl Target {
    /// Reads an address and looks its host up.
    ///
    /// # Errors
    /// Says why it can't be one.
    pub(crate) fn resolve(url: &str) -> Result<Self, Failed> {
        let wrong = |why: String| Failed::Url { url: url.to_owned(), why };
        let uri: Uri = url.parse().map_err(|error| wrong(format!("{error}")))?;
        match uri.scheme_str() {
            Some("ws") => {}
            Some("wss") => {
                return Err(wrong(
                    "there is no TLS here; measure the server itself, by ws://".into(),
                ));
            }
            _ => return Err(wrong("it has to begin with ws://".into())),
        }
        let authority = uri.authority().filter(|authority| !authority.as_str().contains('@'));
        let authority = authority.ok_or_else(|| wrong("it names no host".into()))?;
        let name = authority.host().trim_start_matches('[').trim_end_matches(']');
        let port = authority.port_u16().unwrap_or(80);
        let path = match uri.path_and_query().map(http::uri::PathAndQuery::as_str) {
            None | Some("" | "/") => "/ws",
            Some(path) => path,
        };
        let addresses = (name, port).to_socket_addrs();
        let mut addresses = addresses.map_err(|error| wrong(format!("{name}: {error}")))?;
        let address = addresses.next().ok_or_else(|| wrong(format!("{name} has no address")))?;
        let host = authority.as_str().to_owned();
        Ok(Self { url: url.to_owned(), host, path: path.to_owned(), address })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_and_a_port_may_be_left_out() {
        for (url, address, host, path) in [
            ("ws://127.0.0.1", "127.0.0.1:80", "127.0.0.1", "/ws"),
            ("ws://127.0.0.1:8080/", "127.0.0.1:8080", "127.0.0.1:8080", "/ws"),
            ("ws://[::1]:9/chat?a=b", "[::1]:9", "[::1]:9", "/chat?a=b"),
        ] {
            let target = Target::resolve(url).unwrap();
            assert_eq!(target.address.to_string(), address);
            assert_eq!((&*target.host, &*target.path), (host, path), "{url}");
        }
    }

    #[test]
    fn a_wrong_address_is_explained() {
        for (url, why) in [
            ("wss://127.0.0.1/ws", "no TLS"),
            ("http://127.0.0.1", "begin with ws://"),
            ("127.0.0.1:80", "begin with ws://"),
            ("ws://a@b", "no host"),
            ("ws://a b", "invalid"),
        ] {
            let error = Target::resolve(url).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains(url), "{error}");
        }
    }
}

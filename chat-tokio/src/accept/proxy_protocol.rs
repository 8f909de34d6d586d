//! The header of the PROXY protocol, in which a proxy says for whom it connects.
//!
//! It is read without a byte of what follows it, so that the connection goes on as if it had
//! come without.
use std::io;
use std::net::IpAddr;

use proxy_header::{ParseConfig, ProxyHeader};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

/// Whether a listener talks to proxies that speak the PROXY protocol (versions 1 and 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ProxyProtocol {
    /// It does not. A header of that kind is no valid request.
    #[default]
    Off,
    /// It talks to trusted proxies only, and each connection has to begin with the header.
    Required,
}

/// The longest header of version 1, by its definition.
const V1_BYTES_MAX: usize = 107;

/// The shortest of version 1, `PROXY UNKNOWN` and a line end; all others are longer.
const BYTES_MIN: usize = 15;

/// Version 2 begins with 12 bytes that no other protocol begins with, two bytes about what
/// follows, and two with its length.
const V2_SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
const V2_BYTES_MIN: usize = 16;

/// A header of version 2: addresses take 36 bytes, what else a load balancer tells (names, TLS,
/// certificates) a few hundred to a few thousand.
const V2_BYTES_MAX: usize = 4096;

/// Reads the header and answers the client's address; `None` if the proxy speaks for itself, as
/// its health checks do.
pub(super) async fn read(stream: &mut TcpStream) -> io::Result<Option<IpAddr>> {
    let mut header = vec![0; BYTES_MIN];
    stream.read_exact(&mut header).await?;
    if header.starts_with(V2_SIGNATURE) {
        read_v2(stream, &mut header).await?;
    } else {
        read_v1(stream, &mut header).await?;
    }
    let config = ParseConfig { include_tlvs: false, allow_v1: true, allow_v2: true };
    match ProxyHeader::parse(&header, config) {
        Ok((parsed, length)) if length == header.len() => {
            Ok(parsed.proxied_address().map(|address| address.source.ip().to_canonical()))
        }
        Ok(_) | Err(_) => Err(invalid("the header can't be read")),
    }
}

/// Reads on to the end of the line.
async fn read_v1(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    if !header.starts_with(b"PROXY ") {
        return Err(invalid("it does not begin with the header"));
    }
    let mut ahead = [0; V1_BYTES_MAX];
    while header.last() != Some(&b'\n') {
        let room = V1_BYTES_MAX - header.len();
        if room == 0 {
            return Err(invalid("the header has no end"));
        }
        let there = stream.peek(&mut ahead[..room]).await?;
        if there == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let ours = ahead[..there].iter().position(|byte| *byte == b'\n').map_or(there, |at| at + 1);
        let before = header.len();
        header.resize(before + ours, 0);
        stream.read_exact(&mut header[before..]).await?;
    }
    Ok(())
}

/// Reads as many bytes more as the header says.
async fn read_v2(stream: &mut TcpStream, header: &mut Vec<u8>) -> io::Result<()> {
    header.push(stream.read_u8().await?);
    let more = u16::from_be_bytes([header[V2_BYTES_MIN - 2], header[V2_BYTES_MIN - 1]]);
    let length = V2_BYTES_MIN + usize::from(more);
    if length > V2_BYTES_MAX {
        return Err(invalid("the header is too long"));
    }
    header.resize(length, 0);
    stream.read_exact(&mut header[V2_BYTES_MIN..]).await?;
    Ok(())
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use proxy_header::{ProxiedAddress, Tlv};
    use tokio::io::AsyncWriteExt;
    use tokio::net::TcpListener;

    use super::*;

    /// Writes the bytes one by one and reads the header; what is left has to be `rest`.
    async fn read_from(bytes: &[u8], rest: &[u8]) -> io::Result<Option<IpAddr>> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        client.set_nodelay(true).unwrap();
        let (mut stream, _) = listener.accept().await.unwrap();
        let writes = async {
            for byte in [bytes, rest].concat() {
                // Who has refused does not read to the end.
                if client.write_all(&[byte]).await.is_err() {
                    break;
                }
                tokio::task::yield_now().await;
            }
            let _ = client.shutdown().await;
        };
        let (read, ()) = tokio::join!(read(&mut stream), writes);
        if read.is_ok() {
            let mut left = Vec::new();
            stream.read_to_end(&mut left).await.unwrap();
            assert_eq!(left, rest);
        }
        read
    }

    fn v2(source: &str, tlv_bytes: usize) -> Vec<u8> {
        let address = ProxiedAddress::stream(source.parse().unwrap(), source.parse().unwrap());
        let mut header = ProxyHeader::with_address(address);
        header.append_tlv(Tlv::Noop(tlv_bytes));
        let mut bytes = Vec::new();
        header.encode_v2(&mut bytes).unwrap();
        bytes
    }

    #[tokio::test]
    async fn the_header_is_read_and_not_a_byte_more() {
        let longest = format!("PROXY TCP6 {0} {0} 65535 65535\r\n", ["ffff"; 8].join(":"));
        assert!(longest.len() > 100);
        let unix = [V2_SIGNATURE, b"\x21\x31\0\xd8", &[0; 216]].concat();
        for (bytes, address) in [
            (b"PROXY TCP4 198.51.100.1 10.0.0.1 4711 80\r\n".to_vec(), Some("198.51.100.1")),
            (b"PROXY TCP6 2001:db8::1 ::1 1 2\r\n".to_vec(), Some("2001:db8::1")),
            (b"PROXY TCP6 ::ffff:198.51.100.1 ::1 1 2\r\n".to_vec(), Some("198.51.100.1")),
            (longest.into_bytes(), Some("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff")),
            (b"PROXY UNKNOWN\r\n".to_vec(), None),
            (b"PROXY UNKNOWN whatever\r\n".to_vec(), None),
            (v2("198.51.100.1:4711", 0), Some("198.51.100.1")),
            (v2("[2001:db8::1]:4711", 2000), Some("2001:db8::1")),
            ([V2_SIGNATURE, b"\x20\0\0\0"].concat(), None),
            (unix, None),
        ] {
            let found = read_from(&bytes, b"PROXY GET /\r\n").await.unwrap();
            assert_eq!(found.map(|ip| ip.to_string()).as_deref(), address, "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let endless = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        let long = format!("PROXY TCP4 198.51.100.1 10.0.0.1 {:0100} 80\r\n", 1);
        for bytes in [
            &b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[..],
            b"PROXY TCP4 198.51.100.1\r\n",
            b"PROXY TCP4 198.51.100.1 10.0.0.1 70000 80\r\n",
            b"PROXY TCP4 999.51.100.1 10.0.0.1 1 80\r\n",
            b"PROXY TCP5 198.51.100.1 10.0.0.1 1 80\r\n",
            b"PROXY TCP4 198.51.100.1 10.0.0.1 1 80\n",
            b"PROXY TCP4 198.51",
            b"",
            long.as_bytes(),
            &endless,
            &v2("198.51.100.1:1", 5000),
            &v2("198.51.100.1:1", 100)[..80],
            &[V2_SIGNATURE, b"\x31\x11\0\x0c", &[0; 12]].concat(),
            &[V2_SIGNATURE, b"\x21\x11\0\x04", &[0; 4]].concat(),
            &[V2_SIGNATURE, b"\x21\x7f\0\0"].concat(),
        ] {
            read_from(bytes, b"").await.unwrap_err();
        }
    }
}

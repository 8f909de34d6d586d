//! One connection: its socket, and what is left over in both directions.
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use mio::net::TcpStream;
use socket2::{Domain, Protocol, Socket, Type};

use super::frame;
use super::plan::{Plan, Reads, Role};
use super::stream::{Brought, Stream};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Unborn,
    Connecting,
    Upgrading,
    /// `hello` is on its way.
    Greeting,
    Made,
    Joining,
    Joined,
    Ended,
}

#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) role: Role,
    pub(crate) state: State,
    /// When the request was made that is being waited for.
    pub(crate) since_ns: u64,
    /// It does not read for the time being.
    pub(crate) frozen: bool,
    /// The poll has told of its end, which is behind what is still to be read.
    pub(crate) ends: bool,
    /// Why the server is about to close.
    pub(crate) bye: Option<String>,
    stream: Option<Stream>,
    /// The beginning of a frame whose end has not come.
    rest: Vec<u8>,
    /// What the socket did not take.
    out: Vec<u8>,
}

/// What a read has brought.
pub(crate) enum Got {
    /// So many bytes at the beginning of the buffer, with the rest from before.
    Bytes {
        bytes: usize,
        /// There may be more, of which the poll does not tell again.
        more: bool,
    },
    Nothing,
}

impl Connection {
    pub(crate) fn unborn(role: Role) -> Self {
        Self {
            role,
            state: State::Unborn,
            since_ns: 0,
            frozen: false,
            ends: false,
            bye: None,
            stream: None,
            rest: Vec::new(),
            out: Vec::new(),
        }
    }

    /// Begins to connect; the poll tells when it is done.
    pub(crate) fn open(&mut self, index: u32, plan: &Plan, now_ns: u64) -> io::Result<()> {
        let address = plan.target.address;
        self.state = State::Connecting;
        self.since_ns = now_ns;
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        if self.role.reads == Reads::Late {
            socket.set_recv_buffer_size(SLOW_BUFFER_BYTES)?;
            if plan.burst.is_some() {
                narrow(&socket)?;
            }
        }
        if let Some(source) = source(index, address) {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            // std has no word for EINPROGRESS yet that is stable.
            Err(error) if error.raw_os_error() == Some(EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let tcp = TcpStream::from_std(socket.into());
        self.stream = Some(Stream::new(tcp, plan.target.secured.as_ref())?);
        Ok(())
    }

    pub(crate) fn tcp(&mut self) -> Option<&mut TcpStream> {
        self.stream.as_mut().map(Stream::tcp_mut)
    }

    /// Tells whether the connection stands, once it is writable.
    pub(crate) fn check_connected(&self) -> io::Result<bool> {
        let Some(stream) = self.stream.as_ref().map(Stream::tcp) else { return Ok(false) };
        if let Some(error) = stream.take_error()? {
            return Err(error);
        }
        match stream.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Reads into the buffer, behind what was left over.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Got> {
        let Some(stream) = &mut self.stream else { return Ok(Got::Nothing) };
        let kept = self.rest.len();
        match stream.read(&mut buffer[kept..]) {
            Ok(Brought { bytes, more }) => {
                buffer[..kept].copy_from_slice(&self.rest);
                self.rest.clear();
                Ok(Got::Bytes { bytes: kept + bytes, more: more || self.ends })
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(Got::Nothing),
            Err(error) => Err(error),
        }
    }

    /// Keeps the beginning of a frame for the next read.
    pub(crate) fn keep(&mut self, bytes: &[u8]) {
        if bytes.is_empty() && self.rest.capacity() > REST_BYTES_KEPT {
            self.rest = Vec::new();
        }
        self.rest.extend(bytes);
    }

    /// Sends bytes, or keeps what the socket does not take.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.out.is_empty() {
            self.out.extend(bytes);
            return Ok(());
        }
        let sent = self.write(bytes)?;
        self.out.extend(&bytes[sent..]);
        Ok(())
    }

    pub(crate) fn send_frame(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let mut bytes = Vec::with_capacity(payload.len() + 14);
        frame::write(opcode, payload, &mut bytes);
        self.send(&bytes)
    }

    /// Sends what was kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        if let Some(stream) = &mut self.stream {
            stream.flush()?;
        }
        if self.out.is_empty() {
            return Ok(());
        }
        let out = std::mem::take(&mut self.out);
        let sent = self.write(&out)?;
        self.out.extend(&out[sent..]);
        Ok(())
    }

    /// Returns the bytes that the socket has not taken.
    pub(crate) fn waiting(&self) -> usize {
        self.out.len()
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(stream) = &mut self.stream else { return Ok(bytes.len()) };
        let mut sent = 0;
        while sent < bytes.len() {
            match stream.write(&bytes[sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(bytes) => sent += bytes,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        Ok(sent)
    }

    /// Ends it and frees what it has.
    pub(crate) fn end(&mut self) {
        self.state = State::Ended;
        self.stream = None;
        self.rest = Vec::new();
        self.out = Vec::new();
    }

    /// Ends it without the peer being waited for: no port stays behind.
    pub(crate) fn abort(&mut self) {
        if let Some(stream) = self.stream.as_ref().map(Stream::tcp) {
            // If it can't be, a port stays busy for a minute.
            let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
        }
        self.end();
    }
}

/// Returns the address to connect from: on loopback every block of connections has its own, since
/// one has only so many ports.
fn source(index: u32, target: SocketAddr) -> Option<IpAddr> {
    let block = index / CONNECTIONS_PER_SOURCE;
    let IpAddr::V4(ip) = target.ip() else { return None };
    let usable = cfg!(target_os = "linux") && ip.is_loopback() && block > 0;
    usable.then(|| IpAddr::V4(Ipv4Addr::from_bits(SECOND_LOOPBACK.to_bits() + block)))
}

/// Says what went wrong with a socket, for whoever has started this.
pub(crate) fn explain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused: does the server run there?".into(),
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => "connection reset".into(),
        io::ErrorKind::UnexpectedEof => "ended without a close frame".into(),
        io::ErrorKind::AddrNotAvailable => {
            "no port is left to connect from (net.ipv4.ip_local_port_range)".into()
        }
        io::ErrorKind::InvalidData => format!("TLS: {error}{}", advice(error)),
        _ => error.to_string(),
    }
}

/// What helps against an error of TLS, where that is known.
fn advice(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|error| error.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            " (--ca-file names an authority of your own; --insecure takes any certificate)"
        }
        Some(rustls::Error::InvalidMessage(_)) => " (does the server speak TLS there?)",
        _ => "",
    }
}

/// Has the other side send short segments. By their length its kernel reckons what it takes of what
/// it can't send, and that is nothing that the server notices either.
fn narrow(socket: &Socket) -> io::Result<()> {
    #[cfg(unix)]
    socket.set_tcp_mss(SEGMENT_BYTES)?;
    Ok(())
}

/// Few enough that the usual range of 28 000 ports has room for others.
const CONNECTIONS_PER_SOURCE: u32 = 25_000;

/// Blocks of connections count on from here.
const SECOND_LOOPBACK: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 0);

/// What the kernel takes for a member that does not read is nothing that the server notices, so
/// it is little.
const SLOW_BUFFER_BYTES: usize = 8 * 1024;

/// What every network can carry.
#[cfg(unix)]
const SEGMENT_BYTES: u32 = 536;

/// A connection that once had half a long frame does not keep room for another.
const REST_BYTES_KEPT: usize = 4096;

#[cfg(target_os = "linux")]
const EINPROGRESS: i32 = 115;
#[cfg(not(target_os = "linux"))]
const EINPROGRESS: i32 = 36;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_connections_come_from_several_addresses() {
        let from = |index, target: &str| source(index, target.parse().unwrap());
        assert_eq!(from(24_999, "127.0.0.1:80"), None);
        assert_eq!(from(25_000, "127.0.0.1:80"), Some([127, 0, 1, 1].into()));
        assert_eq!(from(74_999, "127.0.0.1:80"), Some([127, 0, 1, 2].into()));
        assert_eq!(from(25_000, "10.0.0.1:80"), None);
        assert_eq!(from(25_000, "[::1]:80"), None);
    }
}

//! What the bytes of one connection go through: TCP alone, or TLS over it.
use std::io::{self, Read, Write};
use std::sync::Arc;

use mio::net::TcpStream;
use rustls::ClientConnection;

use super::plan::Secured;

/// A socket that never waits.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    // Few bytes for those who have no TLS.
    Tls(Box<Tls>),
}

/// TLS over a socket.
#[derive(Debug)]
pub(crate) struct Tls {
    tcp: TcpStream,
    session: ClientConnection,
}

/// What a read has brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Brought {
    pub(crate) bytes: usize,
    /// There may be more, of which the poll does not tell again.
    pub(crate) more: bool,
}

impl Stream {
    pub(crate) fn new(tcp: TcpStream, secured: Option<&Secured>) -> io::Result<Self> {
        let Some(Secured { config, name, .. }) = secured else { return Ok(Self::Plain(tcp)) };
        let session = ClientConnection::new(Arc::clone(config), name.clone());
        let session = session.map_err(io::Error::other)?;
        Ok(Self::Tls(Box::new(Tls { tcp, session })))
    }

    pub(crate) fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &tls.tcp,
        }
    }

    pub(crate) fn tcp_mut(&mut self) -> &mut TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => &mut tls.tcp,
        }
    }

    /// Reads what there is, up to the length of the buffer, which is not 0.
    ///
    /// # Errors
    /// `WouldBlock` if there is nothing, `UnexpectedEof` at the end.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> io::Result<Brought> {
        match self {
            Self::Plain(tcp) => match retrying(|| tcp.read(buffer))? {
                0 => Err(io::ErrorKind::UnexpectedEof.into()),
                // Less than was asked for: there is no more.
                bytes => Ok(Brought { bytes, more: bytes == buffer.len() }),
            },
            Self::Tls(tls) => tls.read(buffer),
        }
    }

    /// Writes as much as is taken.
    ///
    /// # Errors
    /// `WouldBlock` if nothing is.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(tcp) => retrying(|| tcp.write(bytes)),
            Self::Tls(tls) => tls.write(bytes),
        }
    }

    /// Writes what was taken and is still here.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Plain(_) => Ok(()),
            Self::Tls(tls) => tls.put(),
        }
    }
}

impl Tls {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<Brought> {
        let mut bytes = 0;
        loop {
            match self.session.reader().read(&mut buffer[bytes..]) {
                // The server has said that this is the end.
                Ok(0) => return end(bytes, io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => bytes += read,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if let Err(error) = self.take() {
                        return end(bytes, error);
                    }
                }
                Err(error) => return end(bytes, error),
            }
            if bytes == buffer.len() {
                return Ok(Brought { bytes, more: true });
            }
        }
    }

    /// Takes something from the socket, and answers what TLS itself has to answer.
    fn take(&mut self) -> io::Result<()> {
        if retrying(|| self.session.read_tls(&mut self.tcp))? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let taken = self.session.process_new_packets();
        // The server is told what is wrong, if it still listens.
        let answered = self.put();
        taken.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        answered
    }

    /// Before the handshake is over, the session keeps what is to be sent.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.session.writer().write(bytes)?;
        self.put()?;
        if taken == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(taken) }
    }

    /// Puts what it can into the socket; the poll tells when it takes the rest.
    fn put(&mut self) -> io::Result<()> {
        while self.session.wants_write() {
            match retrying(|| self.session.write_tls(&mut self.tcp)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// What was read before an error counts first. The error comes again, except that there is nothing.
fn end(bytes: usize, error: io::Error) -> io::Result<Brought> {
    let empty = error.kind() == io::ErrorKind::WouldBlock;
    if bytes == 0 { Err(error) } else { Ok(Brought { bytes, more: !empty }) }
}

fn retrying<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

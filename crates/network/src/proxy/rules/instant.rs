//! The instant at which new rules take the old ones' place: connections that come just then are led to a backend all the same.

use std::{
    io::{self, Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use nix::sys::socket::{setsockopt, sockopt::Linger};

use super::{
    NetfilterSocket, Rules,
    tests::{in_namespace, tcp},
};
use crate::netfilter::{find_backend, forget, forget_backend, led_to};

/// Connections made while the rules change.
const CONNECTIONS: usize = 5_000;
const SERVICE: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 5), 80);
/// All backends listen here.
const BACKENDS: (Ipv4Addr, u16) = (Ipv4Addr::UNSPECIFIED, 8080);

fn run(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "{program} {arguments}");
}

/// Runs a test where all addresses of pods and Services are local.
fn with_addresses(test: impl FnOnce(Rules) + Send + 'static) {
    in_namespace(|rules| {
        run("ip", "link set lo up");
        run("ip", "address add 10.244.0.1/32 dev lo");
        for local in ["10.244.0.0/24", "10.96.0.0/12"] {
            run("ip", &format!("route add local {local} dev lo src 10.244.0.1"));
        }
        test(rules);
    });
}

/// And where a server takes connections and lets them go.
fn with_backends(test: impl FnOnce(Rules) + Send + 'static) {
    with_addresses(|rules| {
        let stop = Arc::new(AtomicBool::new(false));
        let server = serve(Arc::clone(&stop));
        test(rules);
        stop.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(("127.0.0.1", BACKENDS.1)));
        server.join().unwrap();
    });
}

fn serve(stop: Arc<AtomicBool>) -> JoinHandle<()> {
    let listener = TcpListener::bind(BACKENDS).unwrap();
    std::thread::spawn(move || {
        while !stop.load(Ordering::Relaxed) {
            drop(listener.accept());
        }
    })
}

#[test]
fn connections_that_come_while_backends_change_are_led_to_one() {
    with_backends(|mut rules| {
        rules.commit(vec![tcp("web", "10.96.0.5:80", &[2, 3])]).unwrap();
        let client = std::thread::spawn(|| (0..CONNECTIONS).filter_map(|_| TcpStream::connect(SERVICE).err()).collect());
        let mut others = [4, 3].into_iter().cycle();
        while !client.is_finished() {
            rules.commit(vec![tcp("web", "10.96.0.5:80", &[2, others.next().unwrap()])]).unwrap();
        }
        let failures: Vec<std::io::Error> = client.join().unwrap();
        assert!(failures.is_empty(), "{} of {CONNECTIONS}: {:?}", failures.len(), failures[0]);
    });
}

/// Connects to the Service from this port.
fn connect_from(port: u16) -> io::Result<TcpStream> {
    let connect = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(10, 244, 0, 1), port)))?;
        socket.connect(SocketAddr::from(SERVICE)).await?.into_std()
    };
    tokio::runtime::Builder::new_current_thread().enable_io().build()?.block_on(connect)
}

#[test]
fn who_was_refused_is_led_from_the_same_port_once_there_is_a_backend() {
    with_backends(|mut rules| {
        rules.commit(Vec::new()).unwrap();
        assert_eq!(connect_from(1_234).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        rules.commit(vec![tcp("web", "10.96.0.5:80", &[2])]).unwrap();
        connect_from(1_234).unwrap();
    });
}

/// Where the kernel leads a connection.
fn backend_of(socket: &mut NetfilterSocket, stream: &TcpStream) -> Option<u8> {
    let ends = (stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    let (SocketAddr::V4(from), SocketAddr::V4(to)) = ends else { panic!("{ends:?}") };
    find_backend(socket, from, to).unwrap().map(|address| address.octets()[3])
}

#[test]
fn who_comes_again_from_the_same_port_is_not_forgotten_with_who_came_before() {
    with_addresses(|mut rules| {
        // Connections are made; nobody takes them.
        let _listener = TcpListener::bind(BACKENDS).unwrap();
        let mut socket = NetfilterSocket::open().unwrap();
        rules.commit(vec![tcp("web", "10.96.0.5:80", &[2])]).unwrap();
        let before = connect_from(1_234).unwrap();
        let gone = Ipv4Addr::new(10, 244, 0, 2);
        let tracked = led_to(&mut socket, gone).unwrap();
        assert_eq!((tracked.len(), backend_of(&mut socket, &before)), (1, Some(2)));
        // It ends, and there is another one before what was led to the backend is forgotten.
        forget_backend(&mut socket, gone).unwrap();
        reset(before);
        rules.commit(vec![tcp("web", "10.96.0.5:80", &[3])]).unwrap();
        let after = connect_from(1_234).unwrap();
        forget(&mut socket, &tracked).unwrap();
        assert_eq!(backend_of(&mut socket, &after), Some(3));
    });
}

/// Ends it without the minute in which its port belongs to it still.
fn reset(stream: TcpStream) {
    let linger = nix::libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, Linger, &linger).unwrap();
}

#[test]
fn a_connection_whose_backend_has_gone_is_reset() {
    with_addresses(|mut rules| {
        // Connections are made; nobody takes them.
        let _listener = TcpListener::bind(BACKENDS).unwrap();
        rules.commit(vec![tcp("web", "10.96.0.5:80", &[2])]).unwrap();
        rules.commit(vec![tcp("api", "10.96.0.6:80", &[3])]).unwrap();
        let [mut web, api] = [SERVICE, (Ipv4Addr::new(10, 96, 0, 6), 80)].map(|service| TcpStream::connect(service).unwrap());
        rules.commit(vec![tcp("web", "10.96.0.5:80", &[3])]).unwrap();
        let mut socket = NetfilterSocket::open().unwrap();
        assert_eq!(backend_of(&mut socket, &web), Some(2));
        assert_eq!(forget_backend(&mut socket, Ipv4Addr::new(10, 244, 0, 2)).unwrap(), 1);
        assert_eq!((backend_of(&mut socket, &web), backend_of(&mut socket, &api)), (None, Some(3)));
        web.write_all(b"anybody there?").unwrap();
        assert_eq!(web.read(&mut [0]).unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    });
}

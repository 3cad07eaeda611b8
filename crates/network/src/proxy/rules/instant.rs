//! The instant at which new rules take the old ones' place: connections that come just then are led to a backend all the same.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

use super::{
    Rules,
    tests::{in_namespace, tcp},
};

/// Connections made while the rules change.
const CONNECTIONS: usize = 5_000;
const SERVICE: (Ipv4Addr, u16) = (Ipv4Addr::new(10, 96, 0, 5), 80);
/// All backends listen here.
const BACKENDS: (Ipv4Addr, u16) = (Ipv4Addr::UNSPECIFIED, 8080);

fn run(program: &str, arguments: &str) {
    let status = Command::new(program).args(arguments.split(' ')).status().unwrap();
    assert!(status.success(), "{program} {arguments}");
}

/// Runs a test where all addresses of pods and Services are local, and a server takes connections and lets them go.
fn with_backends(test: impl FnOnce(Rules) + Send + 'static) {
    in_namespace(|rules| {
        run("ip", "link set lo up");
        run("ip", "address add 10.244.0.1/32 dev lo");
        for local in ["10.244.0.0/24", "10.96.0.0/12"] {
            run("ip", &format!("route add local {local} dev lo src 10.244.0.1"));
        }
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
fn connect_from(port: u16) -> io::Result<()> {
    let connect = async {
        let socket = tokio::net::TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from((Ipv4Addr::new(10, 244, 0, 1), port)))?;
        socket.connect(SocketAddr::from(SERVICE)).await.map(drop)
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

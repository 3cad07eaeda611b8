//! The holder: found again, publishing, and gone without a trace.

use std::{
    io::{Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use windlass_network::{
    Holder, Machine,
    holder::{HolderError, Protocol, PublishedPort},
};

use crate::world::{World, ask, executable, host_state, on_own_host};

const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;

/// A port of the host that is free now.
fn free_port() -> SocketAddr {
    TcpListener::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap()
}

fn tcp(listen: SocketAddr, target: impl Into<SocketAddr>) -> PublishedPort {
    PublishedPort { protocol: Protocol::Tcp, listen, target: target.into() }
}

#[test]
fn it_is_found_until_it_is_stopped() {
    on_own_host(async {
        let before = host_state();
        let data_dir = tempfile::tempdir().unwrap();
        assert!(Holder::find(data_dir.path()).unwrap().is_none());
        let holder = Holder::spawn_from(data_dir.path(), &executable()).unwrap();
        let found = Holder::find(data_dir.path()).unwrap().unwrap();
        assert_eq!(found.pid(), holder.pid());
        match Holder::spawn_from(data_dir.path(), &executable()) {
            Err(HolderError::Setup(said)) => assert!(said.contains("another holder lives"), "{said}"),
            other => panic!("{other:?}"),
        }
        holder.stop().unwrap();
        assert!(Holder::find(data_dir.path()).unwrap().is_none());
        assert_eq!(host_state(), before);
    });
}

#[test]
fn a_stale_socket_is_no_holder() {
    on_own_host(async {
        let data_dir = tempfile::tempdir().unwrap();
        let holder = Holder::spawn_from(data_dir.path(), &executable()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(holder.pid()), nix::sys::signal::Signal::SIGKILL).unwrap();
        let _ = holder.stop();
        assert!(data_dir.path().join("holder.sock").exists());
        assert!(Holder::find(data_dir.path()).unwrap().is_none());
        Holder::spawn_from(data_dir.path(), &executable()).unwrap().stop().unwrap();
    });
}

#[test]
fn a_published_port_leads_into_the_machine_while_nobody_else_lives() {
    on_own_host(async {
        let world = World::new().await;
        let pod = world.pod("a").await;
        pod.serve(80, "hello");
        let listen = free_port();
        assert_eq!(world.holder.publish(vec![tcp(listen, (pod.address, 80))]).await.unwrap(), []);
        let answer = tokio::task::spawn_blocking(move || ask(TcpStream::connect(listen).unwrap()));
        assert_eq!(answer.await.unwrap().unwrap(), "hello");
        let found = Holder::find(world.data_dir.path()).unwrap().unwrap();
        assert_eq!(found.status().unwrap().ports, [tcp(listen, (pod.address, 80))]);
    });
}

#[test]
fn a_taken_port_is_reported_and_the_others_open() {
    on_own_host(async {
        let world = World::new().await;
        let taken = TcpListener::bind((LOOPBACK, 0)).unwrap();
        let (taken_address, free) = (taken.local_addr().unwrap(), free_port());
        let target = SocketAddr::from((LOOPBACK, 1));
        let failed = world.holder.publish(vec![tcp(taken_address, target), tcp(free, target)]).await.unwrap();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].listen, taken_address);
        assert_eq!(failed[0].reason, "Address already in use (os error 98)");
        assert_eq!(world.holder.status().unwrap().ports, [tcp(free, target)]);
        // It is asked for again later, and is free by then.
        drop(taken);
        assert_eq!(world.holder.publish(vec![tcp(taken_address, target), tcp(free, target)]).await.unwrap(), []);
    });
}

#[test]
fn each_end_of_a_connection_ends_on_its_own() {
    on_own_host(async {
        let world = World::new().await;
        let listener = world.machine.listen((LOOPBACK, 8080).into()).await.unwrap();
        let listen = free_port();
        world.holder.publish(vec![tcp(listen, (LOOPBACK, 8080))]).await.unwrap();
        let client = tokio::task::spawn_blocking(move || {
            let mut client = TcpStream::connect(listen).unwrap();
            client.write_all(b"that is all").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut answer = Vec::new();
            client.read_to_end(&mut answer).unwrap();
            answer
        });
        let (mut server, _) = listener.accept().await.unwrap();
        let mut said = String::new();
        server.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "that is all");
        // More than all buffers on the way hold: the answer must be pushed back and come whole.
        let answer: Vec<u8> = (0..8_000_000_u32).map(|index| (index % 251) as u8).collect();
        server.write_all(&answer).await.unwrap();
        drop(server);
        assert!(client.await.unwrap() == answer);
    });
}

#[test]
fn a_client_waits_for_a_target_that_is_late() {
    on_own_host(async {
        let world = World::new().await;
        let listen = free_port();
        world.holder.publish(vec![tcp(listen, (LOOPBACK, 8080))]).await.unwrap();
        let client = tokio::task::spawn_blocking(move || ask(TcpStream::connect(listen).unwrap()));
        while world.holder.status().unwrap().connections == 0 {
            tokio::task::yield_now().await;
        }
        let listener = world.machine.listen((LOOPBACK, 8080).into()).await.unwrap();
        let (mut server, _) = listener.accept().await.unwrap();
        server.read_exact(&mut [0]).await.unwrap();
        server.write_all(b"sorry").await.unwrap();
        drop(server);
        assert_eq!(client.await.unwrap().unwrap(), "sorry");
    });
}

#[test]
fn connections_outlive_their_port_and_a_change_of_target() {
    on_own_host(async {
        let world = World::new().await;
        let old = world.machine.listen((LOOPBACK, 8080).into()).await.unwrap();
        let new = world.machine.listen((LOOPBACK, 8081).into()).await.unwrap();
        let listen = free_port();
        world.holder.publish(vec![tcp(listen, (LOOPBACK, 8080))]).await.unwrap();
        let mut first = tokio::net::TcpStream::connect(listen).await.unwrap();
        let (mut first_server, _) = old.accept().await.unwrap();
        world.holder.publish(vec![tcp(listen, (LOOPBACK, 8081))]).await.unwrap();
        let _second = tokio::net::TcpStream::connect(listen).await.unwrap();
        let (_second_server, _) = new.accept().await.unwrap();
        world.holder.publish(vec![]).await.unwrap();
        assert_eq!(tokio::net::TcpStream::connect(listen).await.unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        first_server.write_all(b"still here").await.unwrap();
        drop(first_server);
        let mut said = String::new();
        first.read_to_string(&mut said).await.unwrap();
        assert_eq!(said, "still here");
    });
}

#[test]
fn datagrams_go_there_and_back() {
    on_own_host(async {
        let world = World::new().await;
        let server = world.machine.udp_bind((LOOPBACK, 5353).into()).await.unwrap();
        let listen = UdpSocket::bind((LOOPBACK, 0)).unwrap().local_addr().unwrap();
        let port = PublishedPort { protocol: Protocol::Udp, listen, target: (LOOPBACK, 5353).into() };
        assert_eq!(world.holder.publish(vec![port]).await.unwrap(), []);
        let [one, two] = [
            tokio::net::UdpSocket::bind((LOOPBACK, 0)).await.unwrap(),
            tokio::net::UdpSocket::bind((LOOPBACK, 0)).await.unwrap(),
        ];
        for client in [&one, &two] {
            client.connect(listen).await.unwrap();
            client.send(b"ping").await.unwrap();
        }
        let mut buffer = [0; 16];
        for number in 0..2_u8 {
            let (length, from) = server.recv_from(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..length], b"ping");
            server.send_to(&[number], from).await.unwrap();
        }
        let mut answers = Vec::new();
        for client in [&one, &two] {
            client.recv(&mut buffer).await.unwrap();
            answers.push(buffer[0]);
        }
        answers.sort_unstable();
        assert_eq!(answers, [0, 1]);
    });
}

#[test]
fn the_machine_is_not_the_host() {
    on_own_host(async {
        let world = World::new().await;
        let listener = world.machine.listen((LOOPBACK, 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(TcpStream::connect(address).is_err());
        let again = Machine::enter(world.holder.netns()).unwrap();
        assert!(again.connect(address).await.is_ok());
    });
}

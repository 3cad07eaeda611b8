//! The pod network: addresses, routes, and what happens when a pod is gone.

use std::{
    collections::BTreeSet,
    io::{ErrorKind, Write as _},
    net::{Ipv4Addr, SocketAddr},
};

use windlass_network::{Addresses, PodNetwork};

use crate::world::{Namespace, World, host_state, on_own_host, run};

#[test]
fn pods_reach_each_other_and_the_machine_reaches_them() {
    on_own_host(async {
        let before = host_state();
        let world = World::new().await;
        let (a, b) = (world.pod("a").await, world.pod("b").await);
        assert_eq!((a.address, b.address), (Ipv4Addr::new(10, 244, 0, 2), Ipv4Addr::new(10, 244, 0, 3)));
        b.serve(80, "b");
        assert_eq!(a.ask((b.address, 80)).unwrap(), "b");
        assert_eq!(b.ask((Ipv4Addr::LOCALHOST, 80)).unwrap(), "b");
        let stream = world.network.connect((b.address, 80).into()).await.unwrap();
        assert_eq!(stream.local_addr().unwrap().ip(), Ipv4Addr::new(10, 244, 0, 1));
        drop((a, b, world));
        assert_eq!(host_state(), before);
    });
}

#[test]
fn attaching_again_changes_nothing() {
    on_own_host(async {
        let world = World::new().await;
        let pod = world.pod("a").await;
        pod.serve(80, "a");
        let _open = world.network.connect((pod.address, 80).into()).await.unwrap();
        let rules = || world.machine.call(|| Ok(run("ip", &["rule"])));
        let before = rules().await.unwrap();
        let restarted = PodNetwork::prepare(&world.machine, Addresses::default(), world.data_dir.path()).await.unwrap();
        assert_eq!(rules().await.unwrap(), before);
        assert_eq!(restarted.attach("a", &pod.namespace.path).await.unwrap(), [pod.address]);
        assert_eq!(restarted.connections(&pod.namespace.path).await.unwrap(), 1);
        assert_eq!(restarted.attached().await, [("a".to_owned(), pod.address)]);
    });
}

#[test]
fn a_pod_that_was_half_attached_is_attached_whole() {
    on_own_host(async {
        let world = World::new().await;
        let pod = world.pod("a").await;
        pod.serve(80, "a");
        // As whoever attached it leaves it when killed on the way: a pair of links, and no more.
        let address = format!("{}/32", pod.address);
        let route = address.clone();
        world.machine.call(move || Ok(run("ip", &["route", "del", &route]))).await.unwrap();
        pod.namespace.run(move || {
            run("ip", &["route", "del", "default"]);
            run("ip", &["address", "del", &address, "dev", "eth0"])
        });
        assert!(world.network.connect((pod.address, 80).into()).await.is_err());
        assert_eq!(world.network.attach("a", &pod.namespace.path).await.unwrap(), [pod.address]);
        assert_eq!(world.pod("b").await.ask((pod.address, 80)).unwrap(), "a");
    });
}

#[test]
fn a_pod_in_a_new_namespace_keeps_its_address() {
    on_own_host(async {
        let world = World::new().await;
        let old = world.pod("a").await;
        let new = world.pod("a").await;
        assert_eq!(new.address, old.address);
        drop(old);
        new.serve(80, "new");
        assert_eq!(world.pod("b").await.ask((new.address, 80)).unwrap(), "new");
    });
}

#[test]
fn who_connects_to_a_pod_that_is_gone_is_told_at_once() {
    on_own_host(async {
        let world = World::new().await;
        let (a, b) = (world.pod("a").await, world.pod("b").await);
        world.network.detach("b").await.unwrap();
        world.network.detach("b").await.unwrap();
        world.network.detach("never seen").await.unwrap();
        assert_eq!(a.ask((b.address, 80)).unwrap_err().kind(), ErrorKind::HostUnreachable);
        let error = world.network.connect((b.address, 80).into()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::HostUnreachable);
        assert_ne!(world.pod("c").await.address, b.address);
    });
}

#[test]
fn connections_are_counted_until_the_pod_has_closed_them() {
    on_own_host(async {
        let world = World::new().await;
        let pod = world.pod("a").await;
        let namespace = &pod.namespace;
        assert_eq!(world.network.connections(&namespace.path).await.unwrap(), 0);
        let listener = namespace.run(|| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, 80)).unwrap());
        let client = world.network.connect((pod.address, 80).into()).await.unwrap();
        let (server, _) = listener.accept().unwrap();
        assert_eq!(world.network.connections(&namespace.path).await.unwrap(), 1);
        assert_eq!(world.network.unfinished(&namespace.path).await.unwrap(), 0);
        // More than the client's kernel takes for a client that does not read.
        server.set_nonblocking(true).unwrap();
        while (&server).write(&[0; 65_536]).is_ok() {}
        drop(server);
        assert_eq!(world.network.connections(&namespace.path).await.unwrap(), 0);
        assert_eq!(world.network.unfinished(&namespace.path).await.unwrap(), 1);
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        std::io::copy(&mut client, &mut std::io::sink()).unwrap();
        while world.network.unfinished(&namespace.path).await.unwrap() > 0 {}
    });
}

#[test]
fn a_service_address_that_leads_nowhere_is_the_machines_own() {
    on_own_host(async {
        let world = World::new().await;
        let pod = world.pod("a").await;
        let service: SocketAddr = (Ipv4Addr::new(10, 96, 0, 77), 80).into();
        assert_eq!(pod.ask(service).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        assert_eq!(world.network.connect(service).await.unwrap_err().kind(), ErrorKind::ConnectionRefused);
    });
}

#[test]
fn many_pods_get_an_address_each() {
    on_own_host(async {
        let world = World::new().await;
        let namespaces: Vec<_> = (0..50).map(|_| Namespace::new()).collect();
        let mut addresses = BTreeSet::new();
        for (index, namespace) in namespaces.iter().enumerate() {
            addresses.extend(world.network.attach(&index.to_string(), &namespace.path).await.unwrap());
        }
        assert_eq!(addresses.len(), 50);
    });
}

#[test]
fn containers_look_names_up_as_upstream_has_them() {
    on_own_host(async {
        let text = World::new().await.network.resolv_conf("shop");
        let expected = "search shop.svc.cluster.local svc.cluster.local cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n";
        assert_eq!(text, expected);
    });
}

use super::*;
use crate::servers::installed;

#[test]
fn a_server_answers_keeps_its_data_and_ends() {
    if !installed(&[redis()]) {
        return;
    }
    let options = Options {
        password: Some("secret".into()),
        user: Some(("ann".into(), "hers".into())),
        unix_socket: true,
        append_only: true,
        max_memory: Some("20mb".into()),
        ..Options::default()
    };
    let mut server = Server::start(options);
    assert!(Client::connect(server.port()).unwrap().call(&["GET", "key"]).is_err());
    let mut ann = Client::connect(server.port()).unwrap();
    ann.call(&["AUTH", "ann", "hers"]).unwrap();
    ann.call(&["SET", "key", "value"]).unwrap();
    assert!(server.socket().exists());
    server.kill();
    server.start_again();
    assert_eq!(server.call(&["GET", "key"]).text(), "value");
}

#[test]
fn valkey_expires_fields_of_hashes() {
    if !installed(&[&valkey()]) {
        return;
    }
    let server = Server::start(Options::valkey());
    server.call(&["HSET", "hash", "field", "value"]);
    let reply = server.call(&["HPEXPIRE", "hash", "10", "FIELDS", "1", "field"]);
    assert_eq!(reply, Reply::List(vec![Reply::Number(1)]));
    assert!(within(PATIENCE, || server.call(&["HGET", "hash", "field"]) == Reply::Nil));
}

#[test]
fn sentinels_replace_a_primary_with_and_without_a_loss() {
    if !installed(&[redis()]) {
        return;
    }
    let options = Options { password: Some("secret".into()), ..Options::default() };
    let cluster = Sentinels::start(&options, Some("watch"));
    let first = cluster.primary();
    cluster.servers[first].call(&["SET", "kept", "1"]);
    let second = cluster.fail_over();
    assert_ne!(first, second);
    assert_eq!(cluster.servers[second].call(&["GET", "kept"]).text(), "1");
    cluster.wait_for_replicas();
    cluster.cut_replication();
    cluster.servers[second].call(&["SET", "lost", "1"]);
    cluster.servers[second].pause();
    let third = cluster.wait_for_other(second);
    assert_eq!(cluster.servers[third].call(&["GET", "kept"]).text(), "1");
    assert_eq!(cluster.servers[third].call(&["GET", "lost"]), Reply::Nil);
    cluster.servers[second].resume();
    cluster.heal_replication(second);
    cluster.wait_for_replicas();
}

#[test]
fn slots_of_a_cluster_move() {
    if !installed(&[redis()]) {
        return;
    }
    let cluster = Cluster::start(&Options::default(), false);
    let slot = cluster.slot("key");
    let from = cluster.owner(slot);
    let to = (from + 1) % 3;
    cluster.servers[from].call(&["SET", "key", "value"]);
    cluster.begin(slot, to);
    let error = cluster.servers[from].client().call(&["GET", "other{key}"]).unwrap_err().to_string();
    assert!(error.starts_with("ASK "), "{error}");
    cluster.finish(slot, to);
    assert_eq!(cluster.owner(slot), to);
    assert_eq!(cluster.servers[to].call(&["GET", "key"]).text(), "value");
}

#[test]
fn replicas_of_a_cluster_take_over() {
    if !installed(&[&valkey()]) {
        return;
    }
    let mut cluster = Cluster::start(&Options::valkey(), true);
    cluster.fail_over(3);
    let slot = cluster.slot("key");
    let owner = cluster.owner(slot);
    cluster.servers[owner].kill();
    let heir = if owner == 3 { 0 } else { owner + 3 };
    cluster.wait_for_primary(heir);
    assert_eq!(cluster.owner(slot), heir);
}

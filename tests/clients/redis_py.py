"""A conversation with redis-py. Arguments: the port, and the protocol (2 or 3). Ends with the line "all well"."""

import sys
import threading
import time

import redis

port, protocol = int(sys.argv[1]), int(sys.argv[2])


def connect(**options):
    return redis.Redis(port=port, protocol=protocol, socket_timeout=20, decode_responses=True, **options)


r = connect(client_name="python")
raw = redis.Redis(port=port, protocol=protocol, socket_timeout=20)


def raises(error, call, *words):
    try:
        call(*words)
    except error as e:
        return str(e)
    raise AssertionError(f"{call} {words} raises nothing")


def connection():
    assert r.ping() is True
    assert r.echo("caf\u00e9") == "caf\u00e9"
    info = r.client_info()
    assert info["name"] == "python" and str(info["resp"]) == str(protocol), info
    assert info["lib-name"].startswith("redis-py"), info
    assert info["lib-ver"] == redis.__version__, info
    assert r.client_setinfo("LIB-NAME", "other") is True
    assert r.client_info()["lib-name"] == "other"
    assert r.client_id() == info["id"] == r.client_info()["id"]
    assert any(c["name"] == "python" for c in r.client_list())
    assert r.info("server")["redis_mode"] == "standalone"
    assert r.info()["connected_clients"] >= 1
    assert r.config_get("maxclients") == {"maxclients": "10000"}
    assert r.config_set("slowlog-max-len", 100) is True
    assert r.command_count() == len(r.command())
    assert r.command()["get"]["arity"] == 2
    assert r.command_getkeys("MSET", "a", 1, "b", 2) == ["a", "b"]
    assert r.select(1) and r.select(0)


def strings():
    assert r.set("k", "v") is True
    assert r.get("k") == "v"
    assert r.set("k", "w", nx=True) is None
    assert r.set("k", "w", xx=True, get=True) == "v"
    assert r.set("t", "v", px=60000) is True
    assert 0 < r.ttl("t") <= 60 and 0 < r.pttl("t") <= 60000
    assert r.persist("t") and r.ttl("t") == -1 and r.ttl("none") == -2
    assert r.expire("t", 100) and r.pexpireat("t", int(time.time() * 1000) + 5000)
    assert r.mset({"a": 1, "b": 2}) is True
    assert r.mget("a", "none", "b") == ["1", None, "2"]
    assert r.exists("a", "a", "none") == 2
    assert r.delete("a", "b", "none") == 2
    value = bytes(range(256)) * 4096
    assert raw.set(b"\x00\xff\r\n", value) and raw.get(b"\x00\xff\r\n") == value
    assert "not an integer" in raises(redis.ResponseError, r.execute_command, "INCR", "k")
    assert "wrong number" in raises(redis.ResponseError, r.execute_command, "GET")
    assert r.rename("k", "l") and r.type("l") == "string"
    assert "no such key" in raises(redis.ResponseError, r.rename, "k", "l")
    assert r.copy("l", "m") is True and r.copy("l", "m") is False
    assert r.object("encoding", "l") == "embstr"
    assert r.dbsize() > 0


def hashes():
    assert r.hset("h", mapping={"name": "Ann", "age": 7}) == 2
    assert r.hget("h", "name") == "Ann" and r.hget("h", "none") is None
    assert r.hgetall("h") == {"name": "Ann", "age": "7"} and r.hgetall("none") == {}
    assert r.hexpire("h", 100, "name", "none") == [1, -2]
    assert r.httl("h", "name", "age") == [100, -1]
    assert r.hdel("h", "age", "none") == 1
    assert "WRONGTYPE" in raises(redis.ResponseError, r.get, "h")


def collections():
    assert r.sadd("s", "a", "b", "c") == 3
    assert set(r.smembers("s")) == {"a", "b", "c"}
    assert r.sadd("s2", "b", "x") == 2 and set(r.sinter("s", "s2")) == {"b"}
    assert r.spop("s2") in {"b", "x"} and len(r.spop("s", 2)) == 2
    assert r.rpush("l1", 1, 2, 3) == 3 and r.lrange("l1", 0, -1) == ["1", "2", "3"]
    assert r.rpop("l1") == "3" and r.rpop("l1", 5) == ["2", "1"] and r.rpop("l1") is None
    assert r.zadd("z", {"a": 1, "b": 2.5, "c": float("inf")}) == 3
    assert r.zrange("z", 0, -1) == ["a", "b", "c"]
    scored = [list(pair) for pair in r.zrange("z", 0, 1, withscores=True)]
    assert scored == [["a", 1.0], ["b", 2.5]], scored
    assert r.zrange("z", "(1", "+inf", byscore=True, offset=0, num=1) == ["b"]
    assert r.zrank("z", "b") == 1 and r.zrank("z", "none") is None
    assert r.zadd("z", {"a": 0.5}, incr=True) == 1.5
    assert r.rpush("ids", 2, 3, 1) == 3
    r.mset({"w1": 30, "w2": 20, "w3": 10, "n1": "one", "n2": "two", "n3": "three"})
    assert r.sort("ids") == ["1", "2", "3"]
    assert r.sort("ids", by="w*", get=["#", "n*"], groups=True) == [("3", "three"), ("2", "two"), ("1", "one")]
    assert r.sort("ids", start=0, num=2, desc=True) == ["3", "2"]
    assert r.sort("ids", store="sorted") == 3


def pipelines():
    with r.pipeline(transaction=False) as p:
        for n in range(5000):
            p.set(f"p:{n}", n).get(f"p:{n}")
        results = p.execute()
    assert results[1::2] == [str(n) for n in range(5000)]
    with r.pipeline() as p:
        assert p.set("tx", 1).execute_command("INCR", "tx").hget("tx", "f").get("tx").execute(raise_on_error=False)[3] == "2"


def transactions():
    r.set("sum", 0)

    def work():
        own = connect()
        for _ in range(50):
            with own.pipeline() as p:
                while True:
                    try:
                        p.watch("sum")
                        total = int(p.get("sum"))
                        p.multi()
                        p.set("sum", total + 1)
                        p.execute()
                        break
                    except redis.WatchError:
                        continue

    threads = [threading.Thread(target=work) for _ in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert r.get("sum") == "200", r.get("sum")


def pubsub():
    p = r.pubsub()
    heard = []
    p.subscribe("news", handled=lambda m: heard.append(m["data"]))
    p.psubscribe("n*")
    kinds = [p.get_message(timeout=5)["type"] for _ in range(3)]
    assert kinds == ["subscribe", "subscribe", "psubscribe"], kinds
    assert r.publish("news", "1") == 2 and r.publish("handled", "2") == 1
    messages = [p.get_message(timeout=5), p.get_message(timeout=5)]
    assert [(m["type"], m["channel"], m["data"]) for m in messages] == [("message", "news", "1"), ("pmessage", "news", "1")]
    p.get_message(timeout=5)
    assert heard == ["2"]
    p.ping()
    p.unsubscribe()
    p.punsubscribe()
    while p.subscribed:
        assert p.get_message(timeout=5) is not None
    assert r.publish("news", "1") == 0
    p.close()


def blocking():
    assert r.blpop("none", timeout=0.05) is None
    r.rpush("q", "x")
    assert tuple(r.blpop(["none", "q"], timeout=1)) == ("q", "x")
    popped = []
    waiting = threading.Thread(target=lambda: popped.append(connect(client_name="waits").blmove("q", "done", 20)))
    waiting.start()
    while not any(c["name"] == "waits" and "b" in c["flags"] for c in r.client_list()):
        time.sleep(0.005)
    r.rpush("q", "y")
    waiting.join()
    assert popped == ["y"] and r.lrange("done", 0, -1) == ["y"]


def scans():
    names = {f"scan:{n}" for n in range(3000)}
    r.mset(dict.fromkeys(names, 1))
    found = list(r.scan_iter(match="scan:*", count=100))
    assert set(found) == names and len(found) == len(names)
    r.zadd("z", {"a": 1})
    assert set(r.scan_iter(_type="zset")) == {"z"}


def monitor():
    with r.monitor() as m:
        connect().set("seen", "a \"b\"")
        while True:
            call = m.next_command()
            if "seen" in call["command"]:
                assert call["db"] == 0 and call["client_port"].isdigit(), call
                break


def ends():
    other = connect(client_name="doomed")
    other.ping()
    doomed = [c["id"] for c in r.client_list() if c["name"] == "doomed"]
    assert r.client_kill_filter(_id=doomed[0]) == 1
    assert r.client_pause(50, all=False) and r.set("after", 1) and r.client_unpause()
    assert r.flushall() is True and r.dbsize() == 0
    r.reset()
    assert r.ping()


for part in (connection, strings, hashes, collections, pipelines, transactions, pubsub, blocking, scans, monitor, ends):
    r.flushall()
    part()
print("all well")

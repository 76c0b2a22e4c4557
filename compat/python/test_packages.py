"""What the server is packed with: systemd unit, Debian package, container, Helm chart, workflows."""
import json
import os
import re
import shutil
import signal
import subprocess
import time
import tomllib

import httpx
import pytest
import yaml

from server import BIN, IS_SPINWARD, ROOT, free_port

pytestmark = pytest.mark.skipif(not IS_SPINWARD, reason="the packages are Spinward's")

PACKAGING = ROOT / "packaging"
CHART = PACKAGING / "helm/spinward"
HELM = os.environ.get("HELM") or shutil.which("helm")


def run(*command, **more):
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=60, **more)


def rendered(*values):
    """The chart's objects by kind and name."""
    done = run(HELM, "template", "test", CHART, "--kube-version", "1.30.0", *(f"--set={value}" for value in values))
    assert done.returncode == 0, done.stderr
    return {(made["kind"], made["metadata"]["name"]): made for made in yaml.safe_load_all(done.stdout) if made}


@pytest.mark.skipif(not HELM, reason="helm is not installed")
def test_the_chart_renders_what_the_server_accepts(tmp_path):
    assert run(HELM, "lint", "--strict", CHART).returncode == 0
    made = rendered("secret.existing=keys")
    assert {kind for kind, _ in made} == {"ConfigMap", "Service", "Deployment"}
    (tmp_path / "config.json").write_text(made["ConfigMap", "test-spinward"]["data"]["config.json"])
    keys = {"SPINWARD_VAR_TOKEN_KEY": "0123456789abcdef" * 4, "SPINWARD_VAR_API_KEY": "fedcba9876543210" * 4}
    checked = run(BIN, "checkconfig", "--strict", "-c", tmp_path / "config.json", env=keys)
    assert checked.returncode == 0 and "INSECURE" not in checked.stderr, checked.stderr
    config = json.loads((tmp_path / "config.json").read_text())

    pod = made["Deployment", "test-spinward"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"clients": 8000, "internal": int(config["http_server"]["internal_port"])}
    probes = {name: container[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probes == {"startupProbe": "/livez", "livenessProbe": "/livez", "readinessProbe": "/readyz"}
    assert pod["securityContext"]["runAsNonRoot"] and container["securityContext"]["readOnlyRootFilesystem"]
    assert container["envFrom"] == [{"secretRef": {"name": "keys"}}]
    # The pod is killed after the server has ended by itself.
    assert pod["terminationGracePeriodSeconds"] > int(config["shutdown"]["timeout"].rstrip("s"))

    several = rendered("replicaCount=3", "config.engine.type=redis", "secret.values.SPINWARD_VAR_API_KEY=x",
                       "ingress.enabled=true", "ingress.host=a.example", "config.http_server.port=80")
    assert {kind for kind, _ in several} == {"ConfigMap", "Service", "Deployment", "Secret", "PodDisruptionBudget", "Ingress"}
    assert several["PodDisruptionBudget", "test-spinward"]["spec"]["maxUnavailable"] == 1
    (container,) = several["Deployment", "test-spinward"]["spec"]["template"]["spec"]["containers"]
    assert container["ports"][0]["containerPort"] == 80

    for values, words in [(["replicaCount=3"], "set config.engine"), (["nonsense=1"], "nonsense"), (["ingress.enabled=true"], "ingress.host"),
                          (["replicaCount=none"], "replicaCount"), (["config.http_server.internal_port="], "internal_port")]:
        refused = run(HELM, "template", "test", CHART, "--kube-version", "1.30.0", *(f"--set={value}" for value in values))
        assert refused.returncode != 0 and words in refused.stderr, (values, refused.stderr)


@pytest.mark.skipif(not HELM, reason="helm is not installed")
@pytest.mark.parametrize("version", ["1.25", "1.30", "1.34"])
def test_kubernetes_knows_every_field_of_the_chart(version):
    validate = pytest.importorskip("kubernetes_validate", reason="requirements-packages.txt is not installed")
    everything = ["replicaCount=3", "config.engine.type=redis", "secret.values.SPINWARD_VAR_API_KEY=x", "image.tag=v1",
                  "ingress.enabled=true", "ingress.host=a.example", "ingress.tlsSecret=tls", "ingress.className=nginx",
                  "ingress.annotations.a=b", "service.annotations.a=b", "service.type=LoadBalancer", "podAnnotations.a=b",
                  "imagePullSecrets[0].name=pull", "env[0].name=SPINWARD_LOG_LEVEL", "env[0].value=debug",
                  "resources.limits.memory=1Gi", "nodeSelector.a=b", "tolerations[0].operator=Exists",
                  "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight=1",
                  "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].key=a",
                  "affinity.nodeAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].preference.matchExpressions[0].operator=Exists"]
    kinds = set()
    for values in ([], ["secret.existing=keys"], everything):
        for (kind, _), made in rendered(*values).items():
            validate.validate(made, version, strict=True)
            kinds.add(kind)
    assert kinds == {"ConfigMap", "Secret", "Service", "Deployment", "PodDisruptionBudget", "Ingress"}
    # And it would say so.
    made["spec"]["selektor"] = {}
    with pytest.raises(validate.ValidationError):
        validate.validate(made, version, strict=True)


@pytest.mark.skipif(not HELM, reason="helm is not installed")
def test_a_pod_becomes_ready_and_leaves_before_it_is_killed(tmp_path):
    """The server as the chart runs it, its probes asked as Kubernetes asks them."""
    ports = {"clients": free_port(), "internal": free_port()}
    made = rendered("secret.existing=keys", f"config.http_server.port={ports['clients']}", f"config.http_server.internal_port={ports['internal']}",
                    "config.shutdown.drain_notice=1s", "config.shutdown.drain_duration=1s", "config.shutdown.timeout=5s")
    (container,) = made["Deployment", "test-spinward"]["spec"]["template"]["spec"]["containers"]
    (tmp_path / "config.json").write_text(made["ConfigMap", "test-spinward"]["data"]["config.json"])
    named = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert named == ports

    def probe(name):
        asked = container[name]["httpGet"]
        try:
            return httpx.get(f"http://127.0.0.1:{named[asked['port']]}{asked['path']}", timeout=container[name].get("timeoutSeconds", 1)).status_code
        except httpx.TransportError:
            return None

    def until(name, status, seconds):
        deadline = time.monotonic() + seconds
        while (seen := probe(name)) != status:
            assert time.monotonic() < deadline, (name, seen)
            time.sleep(0.05)

    arguments = [str(tmp_path / "config.json") if word == "/etc/spinward/config.json" else word for word in container["args"]]
    keys = {"SPINWARD_VAR_TOKEN_KEY": "0123456789abcdef" * 4, "SPINWARD_VAR_API_KEY": "fedcba9876543210" * 4}
    with subprocess.Popen([BIN, *arguments], env=keys, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as pod:
        try:
            until("startupProbe", 200, container["startupProbe"]["failureThreshold"])
            until("readinessProbe", 200, 10)
            pod.send_signal(signal.SIGTERM)
            # It leaves the service at once, is not restarted meanwhile, and ends by itself.
            until("readinessProbe", 503, 1)
            assert probe("livenessProbe") == 200
            assert pod.wait(10) == 0
        finally:
            pod.kill()


def test_the_chart_uses_the_values_that_it_documents():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    assert set(values) == set(schema) - {"global"}
    used = set()
    for template in CHART.glob("templates/*"):
        used |= set(re.findall(r"\.Values\.(\w+)", template.read_text()))
    assert used == set(values)
    for name in ("image", "secret", "service", "ingress", "podDisruptionBudget"):
        assert set(values[name]) == set(schema[name]["properties"]), name


def test_the_unit_is_one_that_systemd_takes_and_that_may_do_little(tmp_path):
    unit = PACKAGING / "systemd/spinward.service"
    text = unit.read_text()
    for line in ("Type=notify", "WatchdogSec=30s", "ExecReload=/bin/kill -HUP $MAINPID", "NoNewPrivileges=yes", "ProtectSystem=strict"):
        assert line in text.splitlines(), line
    assert "ExecStart=/usr/bin/spinward --config /etc/spinward/config.json" in text
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    here = tmp_path / "spinward.service"
    here.write_text(text.replace("/usr/bin/spinward", BIN))
    (tmp_path / "spinward.socket").write_text((PACKAGING / "systemd/socket/spinward.socket").read_text())
    verified = run("systemd-analyze", "verify", "--man=no", here, tmp_path / "spinward.socket")
    assert verified.returncode == 0 and "spinward" not in verified.stderr, verified.stderr
    rated = run("systemd-analyze", "security", "--offline=true", "--threshold=20", here)
    assert rated.returncode == 0, rated.stdout[-400:]


def test_the_debian_package_has_what_it_names():
    cargo = tomllib.loads((ROOT / "crates/server/Cargo.toml").read_text())
    deb = cargo["package"]["metadata"]["deb"]
    for source, place, mode in deb["assets"]:
        # What is built is there after a build.
        if not source.removeprefix("../../").startswith("target/"):
            assert (ROOT / "crates/server" / source).exists(), source
        assert place.startswith("usr/") and mode in ("644", "755"), place
    scripts = ROOT / "crates/server" / deb["maintainer-scripts"]
    for script in ("postinst", "postrm"):
        assert run("sh", "-n", scripts / script).returncode == 0 and "#DEBHELPER#" in (scripts / script).read_text()
    (units,) = deb["systemd-units"]
    assert (ROOT / "crates/server" / units["unit-scripts"] / f"{units['unit-name']}.service").exists()


def test_the_container_runs_as_nobody_and_its_health_check_is_a_command():
    lines = (PACKAGING / "container/Containerfile").read_text().splitlines()
    words = {line.split(" ", 1)[0]: line for line in lines if line and line[0].isupper()}
    assert words["USER"] == "USER 65532:65532" and lines[-1].startswith("CMD")
    assert re.fullmatch(r"FROM scratch", [line for line in lines if line.startswith("FROM")][-1])
    command = json.loads(words["HEALTHCHECK"].split("CMD ")[1])
    entry = json.loads(words["ENTRYPOINT"].split(" ", 1)[1])
    assert command[0] == entry[0] == "/usr/bin/spinward"
    # It is understood: what is missing is the file.
    asked = run(BIN, *command[1:-1], "/no/such/config.json")
    assert asked.returncode == 1 and "/no/such/config.json does not exist" in asked.stderr, asked.stderr
    cargo = tomllib.loads((ROOT / "Cargo.toml").read_text())
    assert f"rust:{cargo['workspace']['package']['rust-version']}-alpine" in words["FROM"] + " ".join(lines)


def test_workflows_run_on_two_systems_and_on_the_oldest_rust():
    jobs = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())["jobs"]
    assert {job["runs-on"].split("-")[0] for job in jobs.values()} >= {"ubuntu", "macos"}
    scripts = "\n".join(step.get("run", "") for job in jobs.values() for step in job["steps"])
    for words in ("cargo xtask test", "cargo xtask dist", "rust-version", "check --workspace --locked"):
        assert words in scripts, words
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text())
    assert "explain" in [part.get("id") for part in form["body"]]
    for file in (ROOT / ".github").rglob("*.yml"):
        assert yaml.safe_load(file.read_text()), file

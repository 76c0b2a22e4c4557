// Certificates that tests make for themselves.
import { execFileSync } from "node:child_process";
import { createHash, X509Certificate } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";

/**
 * A certificate for this machine and its key, in PEM, and the hash of the certificate. A page may name it by the hash: for
 * that it has to be of P-256, and valid for less than two weeks.
 */
export function certificate() {
  const dir = mkdtempSync(path.join(tmpdir(), "spinward-cert-"));
  const [key, cert] = ["key.pem", "cert.pem"].map((name) => path.join(dir, name));
  execFileSync("openssl", ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", key,
    "-out", cert, "-days", "10", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"], { stdio: "ignore" });
  const made = { key_pem: readFileSync(key, "utf8"), cert_pem: readFileSync(cert, "utf8") };
  rmSync(dir, { recursive: true });
  return { ...made, hash: [...createHash("sha256").update(new X509Certificate(made.cert_pem).raw).digest()] };
}

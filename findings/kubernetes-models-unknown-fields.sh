#!/usr/bin/env bash
# @kubernetes-models/gateway-api@2.0.0 (npm), Node 18 or newer: what its validate() refuses of a GRPCRoute.
#
# Guess: a validator made from the CRD refuses what the API server would not keep: a field that the schema does not know,
# such as a misspelt one, beside a missing or wrong one.
# Behaviour: a wrong type and a missing required field are refused; an unknown field passes at every level, also where all
# that was meant is in the misspelt field and the rule is left empty. The API server prunes such fields without an error, so
# that a route can be valid in both and do nothing.
# Seen: "wrong type: refused", "required field missing: refused", "misspelt backendRefs: accepted", "unknown at the top:
# accepted". It shows where rendered charts are held against this schema: keys have to be compared by oneself.
#
# Exits with 0 while that is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --silent --no-audit --no-fund '@kubernetes-models/gateway-api@2.0.0' > /dev/null
cat > check.mjs <<'JS'
import { GRPCRoute } from "@kubernetes-models/gateway-api/gateway.networking.k8s.io/v1";

const backend = { name: "explainer", port: 50051 };
const route = (spec, more = {}) => ({ metadata: { name: "a" }, spec: { parentRefs: [{ name: "gateway" }], ...spec }, ...more });
const cases = {
  "as it should be": [route({ rules: [{ backendRefs: [backend] }] }), true],
  "wrong type": [route({ rules: [{ backendRefs: [{ ...backend, port: "50051" }] }] }), false],
  "required field missing": [route({ rules: [{ backendRefs: [{ port: 50051 }] }] }), false],
  "misspelt backendRefs": [route({ rules: [{ backendRef: [backend] }] }), true],
  "unknown at the top": [route({ rules: [{ backendRefs: [backend] }] }, { specs: 1 }), true],
};
let same = true;
for (const [name, [given, expected]] of Object.entries(cases)) {
  let accepted = true;
  try {
    new GRPCRoute(given).validate();
  } catch {
    accepted = false;
  }
  console.log(`${name}: ${accepted ? "accepted" : "refused"}`);
  same &&= accepted === expected;
}
process.exit(same ? 0 : 1);
JS
node check.mjs

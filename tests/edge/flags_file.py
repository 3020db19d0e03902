"""A file with two flags: one that is dealt, or pinned by a header, and one that has a single version."""

FILE = """
ofrep: { address: 127.0.0.1:0 }
routes: [{ service: shop }, { matches: [{ path: { prefix: /cart } }], service: cart }]
services:
  cart:
    hashOn: [{ cookie: uid }]
    variants:
      stable: { weight: 50, endpoints: ["127.0.0.1:1"] }
      canary: { weight: 50, endpoints: ["127.0.0.1:2"] }
    cohorts: [{ name: staff, when: { header: { name: x-employee, exact: "1" } }, weights: { canary: 100 } }]
  shop: { variants: { stable: { endpoints: ["127.0.0.1:1"] } } }
"""

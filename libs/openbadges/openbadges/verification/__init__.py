"""Verify a credential, ours or another's, in the same way: is it genuine, and does it still stand?

`reading` unwraps what was uploaded (JSON, JWT, PNG, SVG), `parsing` finds out what it says and what exactly was signed,
`issuers` and `status_checks` check what it refers to, and `questions` asks them and sums up the answers in a
`report`. All that computing is done in a bounded process for each document (`worker`), for which `sandbox_pool` waits
for a slot (`slots`) and fetches through `outside`. `verifier` is where verification begins.
"""

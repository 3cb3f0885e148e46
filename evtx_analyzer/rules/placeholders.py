"""The placeholders that sentences and commands of causes may hold; ``diagnose/wording.py`` fills them."""

from __future__ import annotations

PLACEHOLDERS = frozenset(
    {
        # The refusal, its session and its host.
        *("attribution", "connector", "end", "helo", "host", "mail_from", "previous_thumbprint", "rcpt_to"),
        *("received_names", "refusal_times", "refused", "rejection_time", "remote", "reply_certificate"),
        *("reply_verdict", "seen_address", "sender_domain", "sent_names", "sent_validity", "start", "thumbprint"),
        "tls",
        # The check of CAPI2 beside it, and its chain.
        *("blamed_element", "chain_status", "delta", "issuer", "last_element", "missing_issuer", "operation_time"),
        *("private_issuer", "process", "result", "result_name", "subject"),
        # Accepted mail and what logs cover.
        *("accepted_addresses", "accepted_again", "accepted_connectors", "accepted_same_address"),
        *("accepted_same_security", "accepted_same_sender", "accepted_senders", "accepted_since_expiry"),
        *("accepted_since_change", "refused_with_certificate", "relayed_same_sender"),
        *("accepted_since_failed_check", "accepted_since_handshake", "coverage", "schannel_events"),
        # Exported configuration.
        *("associated_domains", "changed_inbound", "changed_send", "configured_subject", "connector_names"),
        "domain_connectors",
        *("fitting_certificates", "fitting_connectors", "inbound_addresses", "inbound_connector", "inbound_names"),
        "inbound_not_working",
        # Certificate stores.
        *("store_elsewhere", "store_host", "store_intermediates", "store_issuer", "store_key", "store_root"),
        *("store_same_name", "store_subject", "store_thumbprint", "store_time"),
        # A handshake in a network trace.
        *("wire_alert", "wire_authorities", "wire_client", "wire_count", "wire_issuer", "wire_join"),
        *("wire_missing_issuer", "wire_received", "wire_sent", "wire_server", "wire_time", "wire_tls_failure"),
    }
)

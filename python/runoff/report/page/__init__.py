"""``report.html``: a run as one file that needs no network, for screens, phones and paper."""

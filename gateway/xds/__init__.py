"""The control plane of the gateway: makes Envoy's configuration from what runs where, and sends it over ADS.

`snapshot` has the input, and `server` publishes it. Only this package imports envoy-data-plane.
"""

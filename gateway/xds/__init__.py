"""The control plane of the gateway: turns what runs where into Envoy's configuration, over ADS.

`snapshot` is the plain input, `server` takes it; only this package imports envoy-data-plane.
"""

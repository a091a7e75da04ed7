"""Drives the socket that it is given with the package `varlink`, and says what it does not find right."""

import sys

import varlink

with varlink.Client.new_with_address("unix:" + sys.argv[1]) as client:
    interfaces = client.get_interfaces()
    for name in ("org.varlink.service", "io.taskmaster.Control", "io.systemd.service"):
        assert name in interfaces, interfaces

    with client.open("io.systemd.service") as service:
        service.Ping()
        service.Reload()
        try:
            service.SetLogLevel(7)
            raise AssertionError("SetLogLevel is not implemented")
        except varlink.VarlinkError as error:
            assert error.error() == "org.varlink.service.MethodNotImplemented", error

    with client.open("io.taskmaster.Control") as control:
        (web,) = control.Status(["web"])["processes"]
        assert web["state"] == "RUNNING" and web.get("last_exit") is None, web
        assert control.Status()["processes"][0]["process"] == "web"

        (result,) = control.Restart(selectors=["web"])["results"]
        assert (result["process"], result["outcome"]) == ("web", "started"), result
        assert control.Status(["web"])["processes"][0]["pid"] != web["pid"]

        try:
            control.Stop(["wbe"], True)
            raise AssertionError("there is no wbe")
        except varlink.VarlinkError as error:
            assert error.error() == "io.taskmaster.Control.NoSuchProgram", error
            assert error.parameters() == {"selector": "wbe", "suggestion": "web"}, error.parameters()

        followed = control.Events(follow=True, since=0, _more=True)
        assert next(followed)["events"][0]["kind"] == "supervisor.started"

print("all is well")

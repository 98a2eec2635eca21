// Package docker gives tests a Docker engine, images to build on, and containers.
//
// The engine is a dockerd that is started for the tests, with the images of earlier runs
// from a cache, and in a network namespace of its own, so that it leaves the machine's
// network, and another engine's, alone. What its containers publish is published there:
// see [Engine.Dial]. Another engine is used only where DOCKER_HOST names it.
//
// The images that a Dockerfile names are taken from the engine or from their
// registry. Where neither has them they are made here, by debootstrap.
package docker

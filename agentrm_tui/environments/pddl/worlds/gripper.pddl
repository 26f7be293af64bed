; A robot with two hands carries balls between rooms.
(define (domain gripper)
  (:requirements :strips :typing :equality)
  (:types room ball hand)
  (:constants left right - hand)
  (:predicates
    (robot-in ?r - room)
    (in ?b - ball ?r - room)
    (empty ?h - hand)
    (carries ?h - hand ?b - ball))

  (:action go
    :parameters (?from ?to - room)
    :precondition (and (not (= ?from ?to)) (robot-in ?from))
    :effect (and (robot-in ?to) (not (robot-in ?from))))

  (:action pick
    :parameters (?b - ball ?r - room ?h - hand)
    :precondition (and (in ?b ?r) (robot-in ?r) (empty ?h))
    :effect (and (carries ?h ?b) (not (in ?b ?r)) (not (empty ?h))))

  (:action drop
    :parameters (?b - ball ?r - room ?h - hand)
    :precondition (and (carries ?h ?b) (robot-in ?r))
    :effect (and (in ?b ?r) (empty ?h) (not (carries ?h ?b)))))

; Changing wheels by the roadside with the tools from the boot.
(define (domain tyreworld)
  (:requirements :strips :typing :negative-preconditions)
  (:types box hub thing - object
          tool wheel nuts - thing)
  (:constants wrench jack pump - tool)
  (:predicates
    (open ?b - box)
    (in ?x - thing ?b - box)
    (have ?x - thing)
    (fits ?n - nuts ?h - hub)
    (tight ?h - hub)
    (loose ?h - hub)
    (raised ?h - hub)
    (bare ?h - hub)                  ; without a wheel
    (on ?w - wheel ?h - hub)
    (intact ?w - wheel)
    (inflated ?w - wheel))

  (:action open
    :parameters (?b - box)
    :precondition (not (open ?b))
    :effect (open ?b))

  (:action close
    :parameters (?b - box)
    :precondition (open ?b)
    :effect (not (open ?b)))

  (:action fetch
    :parameters (?x - thing ?b - box)
    :precondition (and (open ?b) (in ?x ?b))
    :effect (and (have ?x) (not (in ?x ?b))))

  (:action put-away
    :parameters (?x - thing ?b - box)
    :precondition (and (open ?b) (have ?x))
    :effect (and (in ?x ?b) (not (have ?x))))

  (:action loosen
    :parameters (?h - hub)
    :precondition (and (have wrench) (tight ?h) (not (raised ?h)))
    :effect (and (loose ?h) (not (tight ?h))))

  (:action tighten
    :parameters (?h - hub)
    :precondition (and (have wrench) (loose ?h) (not (raised ?h)))
    :effect (and (tight ?h) (not (loose ?h))))

  (:action jack-up
    :parameters (?h - hub)
    :precondition (and (have jack) (not (raised ?h)))
    :effect (and (raised ?h) (not (have jack))))

  (:action jack-down
    :parameters (?h - hub)
    :precondition (and (raised ?h) (not (bare ?h)))
    :effect (and (have jack) (not (raised ?h))))

  (:action undo
    :parameters (?n - nuts ?h - hub)
    :precondition (and (fits ?n ?h) (have wrench) (raised ?h) (loose ?h))
    :effect (and (have ?n) (not (loose ?h))))

  (:action do-up
    :parameters (?n - nuts ?h - hub)
    :precondition (and (fits ?n ?h) (have wrench) (have ?n) (raised ?h) (not (bare ?h)))
    :effect (and (loose ?h) (not (have ?n))))

  (:action remove
    :parameters (?w - wheel ?h - hub)
    :precondition (and (on ?w ?h) (raised ?h) (not (loose ?h)) (not (tight ?h)))
    :effect (and (have ?w) (bare ?h) (not (on ?w ?h))))

  (:action put-on
    :parameters (?w - wheel ?h - hub)
    :precondition (and (have ?w) (raised ?h) (bare ?h))
    :effect (and (on ?w ?h) (not (have ?w)) (not (bare ?h))))

  (:action inflate
    :parameters (?w - wheel)
    :precondition (and (have pump) (intact ?w) (not (inflated ?w)))
    :effect (inflated ?w)))

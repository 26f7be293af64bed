; The rules of a household: one agent, one free hand, closed places hide what is in them.
;
; Names of types and predicates are those of ALFWorld's game files, so that a problem can be played by either set of
; rules; the rules are this project's own and those of agentrm_tui.environments.household. A lamp must be in sight to
; be used, and a thing to be cut, where ALFWorld's own rules only ask for being at the place.

(define (domain household)
  (:requirements :adl :typing)
  (:types agent location receptacle object rtype otype)

  (:predicates
    ; where everything is
    (atLocation ?a - agent ?l - location)
    (receptacleAtLocation ?r - receptacle ?l - location)
    (objectAtLocation ?o - object ?l - location)
    (inReceptacle ?o - object ?r - receptacle)
    (holds ?a - agent ?o - object)
    (holdsAny ?a - agent)
    (opened ?r - receptacle)
    ; what has been done to a thing
    (isClean ?o - object)
    (isHot ?o - object)
    (isCool ?o - object)
    (isSliced ?o - object)
    (isToggled ?o - object)
    ; what never changes
    (openable ?r - receptacle)
    (receptacleType ?r - receptacle ?t - rtype)
    (objectType ?o - object ?t - otype)
    (canContain ?place - rtype ?thing - otype)
    (pickupable ?o - object)
    (cleanable ?o - object)
    (heatable ?o - object)
    (coolable ?o - object)
    (sliceable ?o - object)
    (toggleable ?o - object)
    (isReceptacleObject ?o - object)
    (inReceptacleObject ?inner ?outer - object)
    ; an action has to change something to be one: looking changes this, which means nothing
    (noticed ?a - agent))

  (:action go
    :parameters (?a - agent ?from ?to - location ?r - receptacle)
    :precondition (and (atLocation ?a ?from) (receptacleAtLocation ?r ?to) (not (= ?from ?to)))
    :effect (and (not (atLocation ?a ?from)) (atLocation ?a ?to)))

  (:action open
    :parameters (?a - agent ?l - location ?r - receptacle)
    :precondition (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (openable ?r) (not (opened ?r)))
    :effect (opened ?r))

  (:action close
    :parameters (?a - agent ?l - location ?r - receptacle)
    :precondition (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (openable ?r) (opened ?r))
    :effect (not (opened ?r)))

  (:action take
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r) (pickupable ?o)
                       (not (holdsAny ?a)) (or (opened ?r) (not (openable ?r))))
    :effect (and (holds ?a ?o) (holdsAny ?a) (not (inReceptacle ?o ?r)) (not (objectAtLocation ?o ?l))))

  (:action move
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle ?thing - otype ?place - rtype)
    :precondition (and (holds ?a ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
                       (objectType ?o ?thing) (receptacleType ?r ?place) (canContain ?place ?thing)
                       (or (opened ?r) (not (openable ?r))))
    :effect (and (inReceptacle ?o ?r) (objectAtLocation ?o ?l) (not (holds ?a ?o)) (not (holdsAny ?a))))

  (:action clean
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (holds ?a ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
                       (cleanable ?o) (receptacleType ?r SinkBasinType))
    :effect (isClean ?o))

  (:action heat
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (holds ?a ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
                       (heatable ?o) (receptacleType ?r MicrowaveType))
    :effect (and (isHot ?o) (not (isCool ?o))))

  (:action cool
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (holds ?a ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l)
                       (coolable ?o) (receptacleType ?r FridgeType))
    :effect (and (isCool ?o) (not (isHot ?o))))

  (:action slice
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle ?k - object)
    :precondition (and (holds ?a ?k) (or (objectType ?k KnifeType) (objectType ?k ButterKnifeType))
                       (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r) (sliceable ?o)
                       (or (opened ?r) (not (openable ?r))))
    :effect (isSliced ?o))

  (:action use
    :parameters (?a - agent ?l - location ?o - object ?r - receptacle)
    :precondition (and (toggleable ?o) (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r)
                       (or (opened ?r) (not (openable ?r))))
    :effect (isToggled ?o))

  (:action examinePlace
    :parameters (?a - agent ?l - location ?r - receptacle)
    :precondition (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l))
    :effect (noticed ?a))

  (:action examineThing
    :parameters (?a - agent ?o - object)
    :precondition (or (holds ?a ?o)
                      (exists (?l - location ?r - receptacle)
                        (and (atLocation ?a ?l) (receptacleAtLocation ?r ?l) (inReceptacle ?o ?r)
                             (or (opened ?r) (not (openable ?r))))))
    :effect (noticed ?a))

  (:action look
    :parameters (?a - agent ?l - location)
    :precondition (atLocation ?a ?l)
    :effect (noticed ?a))

  (:action inventory
    :parameters (?a - agent)
    :effect (noticed ?a))

  (:action help
    :parameters (?a - agent)
    :effect (noticed ?a)))

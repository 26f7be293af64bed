; A barman with two hands fills glasses from dispensers and mixes cocktails in a shaker.
(define (domain barman)
  (:requirements :strips :typing :negative-preconditions :equality)
  (:types hand level beverage container - object
          ingredient cocktail - beverage
          shot shaker - container)
  (:constants left right - hand
              zero one two - level)
  (:predicates
    (on-shelf ?c - container)
    (hand-empty ?h - hand)
    (holding ?h - hand ?c - container)
    (empty ?c - container)
    (contains ?c - container ?b - beverage)
    (clean ?s - shot)
    (used ?s - shot ?b - beverage)
    (ready ?k - shaker)              ; clean, or holding ingredients that are not shaken yet
    (shaken ?k - shaker)
    (filled ?k - shaker ?l - level)
    (next ?l ?m - level)
    (before ?i ?j - ingredient)      ; a fixed order, so that a pair of ingredients is named one way only
    (recipe ?c - cocktail ?i ?j - ingredient))

  (:action grasp
    :parameters (?c - container ?h - hand)
    :precondition (and (on-shelf ?c) (hand-empty ?h))
    :effect (and (holding ?h ?c) (not (on-shelf ?c)) (not (hand-empty ?h))))

  (:action leave
    :parameters (?c - container ?h - hand)
    :precondition (holding ?h ?c)
    :effect (and (on-shelf ?c) (hand-empty ?h) (not (holding ?h ?c))))

  ; Dispensers need one hand for the glass and one for the lever.
  (:action fill
    :parameters (?s - shot ?i - ingredient ?h ?o - hand)
    :precondition (and (not (= ?h ?o)) (holding ?h ?s) (hand-empty ?o) (empty ?s) (clean ?s))
    :effect (and (contains ?s ?i) (used ?s ?i) (not (empty ?s)) (not (clean ?s))))

  (:action refill
    :parameters (?s - shot ?i - ingredient ?h ?o - hand)
    :precondition (and (not (= ?h ?o)) (holding ?h ?s) (hand-empty ?o) (empty ?s) (used ?s ?i))
    :effect (and (contains ?s ?i) (not (empty ?s))))

  (:action empty-shot
    :parameters (?s - shot ?b - beverage ?h - hand)
    :precondition (and (holding ?h ?s) (contains ?s ?b))
    :effect (and (empty ?s) (not (contains ?s ?b))))

  (:action clean-shot
    :parameters (?s - shot ?b - beverage ?h ?o - hand)
    :precondition (and (not (= ?h ?o)) (holding ?h ?s) (hand-empty ?o) (empty ?s) (used ?s ?b))
    :effect (and (clean ?s) (not (used ?s ?b))))

  (:action pour-in
    :parameters (?s - shot ?i - ingredient ?k - shaker ?h - hand ?l ?m - level)
    :precondition (and (holding ?h ?s) (contains ?s ?i) (ready ?k) (not (contains ?k ?i)) (filled ?k ?l) (next ?l ?m))
    :effect (and (contains ?k ?i) (filled ?k ?m) (empty ?s)
                 (not (contains ?s ?i)) (not (filled ?k ?l)) (not (empty ?k))))

  (:action shake
    :parameters (?k - shaker ?c - cocktail ?i ?j - ingredient ?h ?o - hand)
    :precondition (and (recipe ?c ?i ?j) (contains ?k ?i) (contains ?k ?j) (not (shaken ?k))
                       (not (= ?h ?o)) (holding ?h ?k) (hand-empty ?o))
    :effect (and (shaken ?k) (contains ?k ?c) (not (ready ?k)) (not (contains ?k ?i)) (not (contains ?k ?j))))

  (:action pour-out
    :parameters (?k - shaker ?c - cocktail ?s - shot ?h - hand)
    :precondition (and (holding ?h ?k) (shaken ?k) (contains ?k ?c) (filled ?k two) (empty ?s) (clean ?s))
    :effect (and (contains ?s ?c) (used ?s ?c) (filled ?k one)
                 (not (empty ?s)) (not (clean ?s)) (not (filled ?k two))))

  (:action pour-last
    :parameters (?k - shaker ?c - cocktail ?s - shot ?h - hand)
    :precondition (and (holding ?h ?k) (shaken ?k) (contains ?k ?c) (filled ?k one) (empty ?s) (clean ?s))
    :effect (and (contains ?s ?c) (used ?s ?c) (filled ?k zero) (empty ?k)
                 (not (empty ?s)) (not (clean ?s)) (not (filled ?k one)) (not (contains ?k ?c)) (not (shaken ?k))))

  (:action discard-one
    :parameters (?k - shaker ?i - ingredient ?h - hand)
    :precondition (and (holding ?h ?k) (filled ?k one) (contains ?k ?i))
    :effect (and (empty ?k) (filled ?k zero) (not (ready ?k)) (not (filled ?k one)) (not (contains ?k ?i))))

  (:action discard-two
    :parameters (?k - shaker ?i ?j - ingredient ?h - hand)
    :precondition (and (before ?i ?j) (holding ?h ?k) (filled ?k two) (contains ?k ?i) (contains ?k ?j))
    :effect (and (empty ?k) (filled ?k zero) (not (ready ?k)) (not (filled ?k two))
                 (not (contains ?k ?i)) (not (contains ?k ?j))))

  (:action discard-drink
    :parameters (?k - shaker ?c - cocktail ?l - level ?h - hand)
    :precondition (and (holding ?h ?k) (shaken ?k) (contains ?k ?c) (filled ?k ?l))
    :effect (and (empty ?k) (filled ?k zero) (not (shaken ?k)) (not (filled ?k ?l)) (not (contains ?k ?c))))

  (:action clean-shaker
    :parameters (?k - shaker ?h ?o - hand)
    :precondition (and (not (= ?h ?o)) (holding ?h ?k) (hand-empty ?o) (empty ?k) (not (ready ?k)))
    :effect (ready ?k)))

"""Example responses for `/docs`."""

from typing import Any

_SOURCE = {
    "model": "sequence",
    "version": "7",
    "fallback": None,
    "arm": "champion",
    "prediction_id": "019ab3c2-8d1e-7c40-9f1b-52a6d0e4b7f3",
}

RECOMMENDATIONS: dict[str, Any] = {
    "recommendations": [
        {
            "topic_id": 15,
            "title": "Hashes, MACs and integrity",
            "probability": 0.31,
            "difficulty": "medium",
            "expected_success": 0.78,
            "reasons": [
                {
                    "cause": "last_topic",
                    "text": "it often follows “Symmetric encryption and modes”, "
                    "which you studied last",
                    "without": 0.07,
                },
                {
                    "cause": "popular_lately",
                    "text": "many learners study it now",
                    "without": 0.24,
                },
            ],
        }
    ],
    **_SOURCE,
}

DIFFICULTY: dict[str, Any] = {
    "topic_id": 15,
    "title": "Hashes, MACs and integrity",
    "difficulty": "medium",
    "success_probability": 0.78,
    "levels": {"easy": 0.91, "medium": 0.78, "hard": 0.52},
    "level_probabilities": {"easy": 0.23, "medium": 0.75, "hard": 0.02},
    "evidence": {
        "attempts": 3,
        "passes": 2,
        "proficiency": 0.64,
        "trend": 0.08,
        "seconds_since_last_attempt": 86_400.0,
    },
    **_SOURCE,
    "model": "tracing",
}

LEARNING_PATH: dict[str, Any] = {
    "learning_path": [
        {
            "topic_id": 13,
            "title": "Symmetric encryption and modes",
            "domain": "Cryptography",
            "status": "failed",
            "difficulty": "easy",
            "expected_success": 0.72,
            "resource": {
                "resource_id": 38,
                "kind": "video",
                "title": "The penguin that survived encryption",
                "url": "library/symmetric-crypto/video",
            },
            "minutes": 18,
            "minutes_from": "log",
            "why": "you failed it last time, with 40%",
        }
    ],
    "goal": "Hashes, MACs and integrity",
    "remaining": 2,
    "format": "video",
    **_SOURCE,
}

PREDICTIONS: dict[str, Any] = {
    "predictions": [[0.93, 0.81, 0.55]],
    "columns": ["easy", "medium", "hard"],
    "assumed": [],
    "model": "reference",
    "version": "7",
}

QUIZ: dict[str, Any] = {
    "event_id": "8b2f4c1e-6a0d-4e57-9c3b-2f1d7a5e9b04",
    "user_id": "testuser",
    "interaction_type": "quiz_complete",
    "topic_id": 1,
    "score": 0.85,
    "duration_seconds": 240,
    "timestamp": "2026-01-31T09:30:00+00:00",
    "metadata": {"difficulty": "medium"},
}

FEEDBACK: dict[str, Any] = QUIZ | {
    "event_id": "d91c6a7e-03b5-4f0e-8a62-5e4b1c7f2a90",
    "interaction_type": "feedback_recommendation",
    "score": None,
    "duration_seconds": None,
    "metadata": {"helpful": True, "rating": 4},
}

TIME_SPENT: dict[str, Any] = QUIZ | {
    "event_id": "47e0b8d2-9f31-4c6a-b5d8-0a9e3f6c1d72",
    "interaction_type": "resource_view",
    "score": None,
    "duration_seconds": 300,
    "metadata": {"doc_id": 1, "format": "text"},
}

DOCUMENT: dict[str, Any] = {
    "doc_id": 1,
    "topic_id": 1,
    "topic": "Security goals: confidentiality, integrity, availability",
    "title": "Three goals and eight design principles",
    "format": "text",
    "url": "library/security-goals/text",
    "minutes": 10,
    "view": TIME_SPENT | {"interaction_type": "text_read", "duration_seconds": None},
}

LEARNING_STYLE: dict[str, Any] = {
    "learning_style": "visual",
    "observed": "mixed",
    "override": "visual",
    "evidence": {"video_views": 4, "text_reads": 3, "practice_attempts": 2, "quiz_attempts": 9},
    "fallback": None,
}

VOIDED: dict[str, Any] = {"state": "void", "changed": True, "event": None}

CORRECTED: dict[str, Any] = {
    "state": "corrected",
    "changed": True,
    "event": {**QUIZ, "score": 0.95},
}

EXPORT: dict[str, Any] = {
    "user_id": "testuser",
    "held": {"learners": [{"user_id": "testuser", "revision": 1, "style_override": None}]},
    "look_alikes": [],
}

ERASURE: dict[str, Any] = {
    "erased": {"user_interactions": 12, "learners": 1, "predictions": 7},
    "look_alikes": [],
}

MONITORED: dict[str, Any] = {
    "computed_at": "2026-01-31T03:00:12+00:00",
    "window": {"start": "2026-01-24T03:00:00+00:00", "end": "2026-01-31T03:00:00+00:00"},
    "accuracy": 0.74,
    "recommendation_acceptance": 0.38,
    "user_satisfaction": 4.1,
    "data_drift_score": 0.06,
    "hit_rate_at_k": 0.46,
    "log_loss": 0.53,
    "calibration_error": 0.03,
    "catalogue_coverage": 0.82,
    "fallback_share": 0.04,
    "lift": {"value": 0.11, "low": 0.07, "high": 0.15, "n": 5210, "learners": 871},
    "skew": {"compared": 1000, "different": 0},
    "drift": {
        "score": 0.06,
        "small": False,
        "drifted": [],
        "report": "reports/drift/2026-01-31.html",
    },
    "alarms": [],
    "guards": {
        "volume": {
            "guard": "volume",
            "fires": False,
            "sentence": "1,188 events on 3 days from 2026-01-27 to 2026-01-29, 99% of the 1,200 "
            "usual for these weekdays",
            "value": 0.99,
            "limit": 0.25,
        }
    },
    "held_back": [],
    "outside_catalogue": {"events": 0, "topics": []},
    "measures": [
        {"version": "7", "arm": "champion", "day": "2026-01-30", "recommendation_acceptance": 0.39}
    ],
    "fallback": None,
    "note": None,
}
